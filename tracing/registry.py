"""What the control stream has said so far: places and cases as of any time, devices, keys and tokens.

A trace as of T sees the places as they were registered at T, so that a dwell changed later changes no earlier answer.
"""

import logging
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from events.access import Token
from events.cases import Case, Subject
from events.control import (
    CaseConfirmed,
    DeviceEnrolled,
    PlaceRegistered,
    Recorded,
    SubjectAdded,
    TokenIssued,
    TokenRevoked,
)
from events.places import PLACE_DEPTH_MAX, Place, PlaceTree
from keys.keyring import Keyring

PLACE_TREES_KEPT: Final = 4
"""Trees of past moments stay in memory this many at a time; a tree of a whole country takes about a second to build."""

CaughtUp = Callable[[float], bool]
"""Whether, within these seconds, everything that the control stream held at the call is in the registry."""

log = logging.getLogger(__name__)


class Registry:
    """A fold of the control stream. One thread applies; any thread reads."""

    def __init__(self) -> None:
        self.keyring: Final = Keyring()
        self.tokens_by_sha256: Final[dict[bytes, Token]] = {}
        self._device_ids: Final[dict[int, str]] = {}
        self._device_places: Final[dict[str, frozenset[str]]] = {}
        self._places: Final = _PlaceHistory()
        self._cases: Final[dict[str, list[tuple[int, Case]]]] = {}
        self._subjects: Final[dict[str, Subject]] = {}
        self._lock: Final = threading.Lock()

    def apply(self, recorded: Recorded) -> None:
        """Take in the next event of the control stream, in its order."""
        with self._lock:
            self.keyring.apply(recorded)
            match recorded.event:
                case PlaceRegistered(place=place):
                    self._places.add(recorded.at, place)
                case DeviceEnrolled(device=device):
                    self._device_ids[device.number] = device.id
                    if device.place is not None:
                        self._device_places[device.id] = self.device_places(device.id) | {device.place}
                case CaseConfirmed(case=case):
                    self._cases.setdefault(case.id, []).append((recorded.at, case))
                case SubjectAdded(subject=subject):
                    self._subjects[subject.subject] = subject
                case TokenIssued(token=token):
                    self.tokens_by_sha256[token.sha256] = token
                case TokenRevoked(token=token_id):
                    self._revoke(token_id)
                case _:
                    pass

    def places(self) -> PlaceTree:
        """The places as they are now."""
        with self._lock:
            return self._places.tree(len(self._places))

    def places_as_of(self, ms: int, naming: Iterable[int] = ()) -> PlaceTree:
        """The places as registered at `ms`.

        `naming` holds place numbers that the tree must know: one that was registered only after `ms` joins in its
        earliest version (two machines' clocks differ, and a scan must not lose its place for that); one that was
        never registered stays unknown.
        """
        with self._lock:
            return self._places.tree(self._places.count_at(ms), naming)

    def cases(self) -> list[Case]:
        """Every case in its latest version, by id."""
        with self._lock:
            return [versions[-1][1] for _, versions in sorted(self._cases.items())]

    def case(self, case_id: str) -> Case | None:
        """The case in its latest version."""
        with self._lock:
            versions = self._cases.get(case_id)
            return versions[-1][1] if versions else None

    def case_as_of(self, case_id: str, ms: int) -> Case | None:
        """The case as known at `ms`; confirmed only later, in its earliest version: one may ask about the past."""
        with self._lock:
            versions = self._cases.get(case_id)
            if not versions:
                return None
            known = bisect_right(versions, ms, key=lambda version: version[0])
            return versions[max(known - 1, 0)][1]

    def subject(self, pseudonym: str) -> Subject | None:
        """A subject that was entered by hand."""
        with self._lock:
            return self._subjects.get(pseudonym)

    def device_id(self, number: int) -> str:
        """The id of a device by the registry's number, which is never reused; `#<number>` where nobody enrolled it."""
        return self._device_ids.get(number) or f"#{number}"

    def device_places(self, device_id: str) -> frozenset[str]:
        """The ids of the places that the device is or ever was enrolled at."""
        return self._device_places.get(device_id, frozenset())

    def revocations_as_of(self, ms: int) -> dict[tuple[int, int], int]:
        """(Device number, key) → `revoked_from` (ms), from the revocations recorded at `ms` or before."""
        with self._lock:
            return self.keyring.revocations_as_of(ms)

    def _revoke(self, token_id: str) -> None:
        for sha256, token in self.tokens_by_sha256.items():
            if token.id == token_id:
                self.tokens_by_sha256[sha256] = msgspec.structs.replace(token, revoked=True)


def place_id(places: PlaceTree, number: int) -> str:
    """The id of a place by the registry's number; `#<number>` where nobody registered it."""
    place = places.by_number.get(number)
    return place.id if place is not None else f"#{number}"


class _PlaceHistory:
    """Every version of every place in the order of the control stream; a tree is named by how many it has seen."""

    def __init__(self) -> None:
        self._recorded: Final[list[int]] = []
        self._versions: Final[list[Place]] = []
        self._current: Final[dict[str, Place]] = {}
        self._earliest: Final[dict[int, Place]] = {}
        self._trees: Final[dict[int, PlaceTree]] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def add(self, at: int, place: Place) -> None:
        """Take in a version. One that breaks the tree (two writers at once) is left out, here and on every replay."""
        if not self._fits(place):
            log.warning("place %s (number %d) does not fit into the tree and is left out", place.id, place.number)
            return
        self._recorded.append(at)
        self._versions.append(place)
        self._current[place.id] = place
        self._earliest.setdefault(place.number, place)

    def count_at(self, ms: int) -> int:
        """How many versions were recorded at `ms` or before."""
        return bisect_right(self._recorded, ms)

    def tree(self, count: int, naming: Iterable[int] = ()) -> PlaceTree:
        """The tree after the first `count` versions, with the earliest version of the others that are named."""
        tree = self._tree(count)
        later = [number for number in naming if number not in tree.by_number and number in self._earliest]
        if not later:
            return tree
        return PlaceTree([*tree.by_id.values(), *self._joining(tree, later).values()])

    def _tree(self, count: int) -> PlaceTree:
        tree = self._trees.pop(count, None)
        if tree is None:
            tree = PlaceTree({place.id: place for place in self._versions[:count]}.values())
        while len(self._trees) >= PLACE_TREES_KEPT:
            del self._trees[next(iter(self._trees))]
        self._trees[count] = tree
        return tree

    def _joining(self, tree: PlaceTree, numbers: Iterable[int]) -> dict[str, Place]:
        """The named places and those around them that the tree lacks, each in its earliest version.

        An earliest version can only name a parent that was registered before it: no ring can come of it.
        """
        earliest_by_id = {place.id: place for place in self._earliest.values()}
        joining: dict[str, Place] = {}
        for number in numbers:
            place: Place | None = self._earliest[number]
            while place is not None and place.id not in tree.by_id and place.id not in joining:
                joining[place.id] = place
                place = earliest_by_id[place.parent] if place.parent is not None else None
        return joining

    def _fits(self, place: Place) -> bool:
        known = self._current.get(place.id)
        if known is None:
            parent_known = place.parent is None or place.parent in self._current
            return parent_known and sum(1 for _ in self._upward(place)) <= PLACE_DEPTH_MAX
        if known.parent == place.parent:
            return True
        # Moving a place moves all that lies within it: rare, so simply try the whole tree.
        try:
            PlaceTree((self._current | {place.id: place}).values())
        except ValueError:
            return False
        return True

    def _upward(self, place: Place) -> Iterator[Place]:
        parent = place.parent
        while parent is not None:
            yield self._current[parent]
            parent = self._current[parent].parent
