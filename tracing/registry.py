"""What the control stream has said so far: places and cases as of any time, devices, keys and tokens.

A trace as of T sees the places as they were registered at T, so that a dwell changed later changes no earlier answer.
"""

import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from events.access import Token
from events.cases import Case, Subject
from events.control import (
    CaseConfirmed,
    DeviceEnrolled,
    Recorded,
    SubjectAdded,
    TokenIssued,
    TokenRevoked,
)
from events.places import PlaceTree
from projections.kept import Kept
from projections.stay_rules import StayRules
from tracing.retention.closings import Closings

CaughtUp = Callable[[float], bool]
"""Whether, within these seconds, everything that the control stream held at the call is in the registry."""


class Registry:
    """A fold of the control stream. One thread applies; any thread reads."""

    def __init__(self) -> None:
        self.stay_rules: Final = StayRules()
        self.keyring: Final = self.stay_rules.keyring
        self.tokens_by_sha256: Final[dict[bytes, Token]] = {}
        self._device_ids: Final[dict[int, str]] = {}
        self._device_places: Final[dict[str, frozenset[str]]] = {}
        self._places: Final = self.stay_rules.places
        self._cases: Final[dict[str, list[tuple[int, Case]]]] = {}
        self._subjects: Final[dict[str, Subject]] = {}
        self.kept: Final = Kept()
        self.closings: Final = Closings()
        self._recorded_at: Final = array("q")
        """When (Unix ms) each event was recorded."""
        self._lock: Final = threading.Lock()

    def apply(self, recorded: Recorded) -> None:
        """Take in the next event of the control stream, in its order."""
        with self._lock:
            self._recorded_at.append(recorded.at)
            self.stay_rules.apply(recorded)
            self.kept.apply(recorded)
            self.closings.apply(recorded)
            match recorded.event:
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

    @property
    def events(self) -> int:
        """How many it has taken in so far."""
        return len(self._recorded_at)

    def learned(self, events: int, upto: int) -> bool:
        """Whether any event after the first so many was recorded by `upto` (Unix ms)."""
        with self._lock:
            return any(at <= upto for at in self._recorded_at[events:])

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

    def places_around(self, ms: int, numbers: Iterable[int]) -> PlaceTree:
        """The places of these numbers as `places_as_of` has them, and those that they lie in: no others."""
        with self._lock:
            return self._places.around(ms, numbers)

    def stays_redecided(self, after: int, upto: int) -> bool:
        """Whether what was recorded in `(after, upto]` (ms) may make the same scans other stays."""
        with self._lock:
            return self.stay_rules.changed(after, upto)

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
