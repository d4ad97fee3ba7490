"""Small worlds on a grid of five minutes, so that whatever is computed with intervals can be counted cell by cell."""

from collections.abc import Mapping
from typing import Final

from hypothesis import strategies as st

from events.places import Place, PlaceTree
from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.overlap import Presence, presences

CELL: Final = 300_000
CELLS: Final = 60
START: Final = 1_634_860_800_000
PARENTS: Final[Mapping[str, str | None]] = {"mall": None, "cafe": "mall", "table": "cafe", "shop": "mall", "bus": None}
TREE: Final = PlaceTree(
    Place(id=each, number=n + 1, name=each, parent=up) for n, (each, up) in enumerate(PARENTS.items())
)
PEOPLE: Final = tuple("abcdefgh")

cells = st.integers(0, CELLS)
spans = st.tuples(cells, cells).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: (min(pair), max(pair)))
short_spans = st.tuples(cells, st.integers(1, 5)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def ms(cell: int) -> int:
    """Unix ms of a cell's beginning."""
    return START + cell * CELL


def stay_at(place: str, start: int, end: int) -> Stay:
    """A stay from cell to cell."""
    return Stay(place, ms(start), ms(end), EntryKnown.MEASURED, ExitKnown.MEASURED, (("door", start + 1),))


stays = st.builds(
    lambda place, span: stay_at(place, *span), st.sampled_from(list(PARENTS)), st.one_of(spans, short_spans)
)
crowds = st.dictionaries(st.sampled_from(PEOPLE), st.lists(stays, min_size=1, max_size=4), min_size=2, max_size=6)


def present(stays: Mapping[str, list[Stay]], windows: Mapping[str, tuple[int, int]]) -> dict[str, list[Presence]]:
    """Each subject's stays clipped to their own window of cells."""
    return {
        subject: presences(subject, stays[subject], ms(windows[subject][0]), ms(windows[subject][1]))
        for subject in windows
    }


def inside(place: str, outer: str) -> bool:
    """Whether being at the place is being at the outer one, by asking upward."""
    parent = PARENTS[place]
    return place == outer or (parent is not None and inside(parent, outer))


def cells_of(presence: Presence) -> set[int]:
    """The cells that a presence covers."""
    return {cell for cell in range(CELLS + 6) if presence.start <= ms(cell) < presence.end}
