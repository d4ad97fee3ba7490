"""`ingest.places`: the same answers as a tree, event by event."""

from hypothesis import given
from hypothesis import strategies as st

from events.control import DeviceEnrolled, PlaceRegistered, Recorded
from events.places import Place, PlaceTree
from ingest.places import PlaceView
from tests.ingest.scene import DOOR, PLACES


def view_of(*places: Place) -> PlaceView:
    view = PlaceView()
    for place in places:
        view.apply(Recorded(1, PlaceRegistered(place)))
    return view


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=12))
def test_answers_as_a_tree_does(parents: list[int]) -> None:
    # Each place hangs under an earlier one, or under none.
    places = [
        Place(id=f"p{n}", number=n, name="x", parent=f"p{parent % n}" if n and parent >= 0 else None)
        for n, parent in enumerate(parents)
    ]
    view, tree = view_of(*reversed(places)), PlaceTree(places)
    for inner in tree.by_id:
        for outer in tree.by_id:
            assert view.within(inner, outer) == tree.within(inner, outer)


def test_the_last_registration_counts() -> None:
    view = view_of(*PLACES, Place(id="stall", number=3, name="Moved", parent="post"))
    assert view.by_id["stall"].name == "Moved"
    assert view.within("stall", "post")
    assert not view.within("stall", "mall")
    assert len(view) == len(PLACES)


def test_other_events_change_nothing() -> None:
    view = view_of(*PLACES)
    view.apply(Recorded(1, DeviceEnrolled(DOOR)))
    assert dict(view.by_id) == {place.id: place for place in PLACES}


def test_a_damaged_tree_ends_the_walk() -> None:
    ring = view_of(
        Place(id="a", number=1, name="x", parent="b"),
        Place(id="b", number=2, name="x", parent="a"),
        Place(id="c", number=3, name="x"),
        Place(id="orphan", number=4, name="x", parent="gone"),
    )
    assert not ring.within("a", "c")
    assert not ring.within("orphan", "gone")
    assert not ring.within("gone", "gone")
