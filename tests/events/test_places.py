import pytest

from events.places import CATEGORY_DWELL_SECONDS, DWELL_SECONDS_MAX, DWELL_SECONDS_MIN, Category, Place, PlaceTree


def place(id: str, number: int, parent: str | None = None) -> Place:
    return Place(id=id, number=number, name=id, parent=parent)


def test_every_category_has_a_dwell_within_the_limits() -> None:
    assert set(CATEGORY_DWELL_SECONDS) == set(Category)
    assert all(DWELL_SECONDS_MIN <= dwell <= DWELL_SECONDS_MAX for dwell in CATEGORY_DWELL_SECONDS.values())


def test_a_places_own_dwell_overrides_its_categorys() -> None:
    market = Place(id="cho", number=1, name="Chợ", category=Category.MARKET)
    assert market.dwell_ms == 3_600_000
    assert Place(id="cho", number=1, name="Chợ", category=Category.MARKET, dwell_seconds=60).dwell_ms == 60_000
    assert place("other", 2).dwell_ms == 2 * 3_600_000


def test_the_tree_knows_who_lies_within_whom() -> None:
    tree = PlaceTree([place("seat", 3, "bus"), place("bus", 2, "line"), place("line", 1), place("shop", 4)])
    assert tree.ancestors("seat") == ("bus", "line")
    assert tree.within("seat", "line")
    assert tree.within("seat", "seat")
    assert not tree.within("line", "seat")
    assert not tree.within("seat", "shop")


@pytest.mark.parametrize(
    "places",
    [
        [place("a", 1, "b"), place("b", 2, "a")],
        [place("a", 1, "a")],
        [place("a", 1, "gone")],
        [place("p0", 0), *(place(f"p{n}", n, f"p{n - 1}") for n in range(1, 19))],
    ],
    ids=["ring", "itself", "unknown", "too deep"],
)
def test_a_tree_that_is_none_is_refused(places: list[Place]) -> None:
    with pytest.raises(ValueError, match="place"):
        PlaceTree(places)
