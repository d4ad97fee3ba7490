"""A world to settle: scans in the log and in the read model by subject, registries that change, two ways to the stays.

One is the table of settled stays as a reader resolves it, the other the plain walk of every scan that counts.
"""

import itertools
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from events.control import ControlEvent, DeviceEnrolled, DeviceKeyAdded, PlaceRegistered, Recorded
from events.devices import Device, DeviceKey
from events.places import Place
from events.scans import KIND_NUMBER, LOG_ROW, Kind
from projections.kept import Kept
from projections.model import Digest
from projections.scans_by_subject import SCANS_BY_SUBJECT
from projections.settlement import Settlement, SettlementLimits
from projections.settler import Settler, SettlerLimits
from projections.stay_rules import StayRules
from projections.stays import STAY_MS_MAX, Sighting, Stay, walk
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR, digest
from storage.clickhouse import Store
from storage.control import FIRST, ControlLog
from storage.settled import SettledMark, SettledMarks
from storage.watermarks import Name, Watermark, Watermarks

SUBJECT_ROW: Final = struct.Struct("<16sqIQHIbq")
HOUR_MS: Final = 3_600_000
FOREVER: Final = 2**45
KEY: Final = 1
AHEAD: Final = ThreadPoolExecutor(1, "settling-ahead")
"""Prepares portions for every settlement of a test run."""
DEVICES: Final = {1_000: "d-9", 999: "d-10", 998: "d-a"}
"""Ids by number: their orders differ."""

_tokens = itertools.count()

SettledStay = tuple[str, int, int, str, str, tuple[tuple[str, int], ...]]
"""Place, start, end, entry, exit, proving scans, as `Stay` has them."""


class Delivery(NamedTuple):
    """A scan, first delivered. `place` and `device` are numbers."""

    subject: bytes
    at: int
    kind: Kind
    device: int
    seq: int
    place: int
    received: int


class ToldWatermarks(Watermarks):
    """Watermarks that a test sets."""

    def __init__(self) -> None:
        self.mark = Watermark(0, 0)
        self.ahead = 0
        """So many rows the log has more than the read models."""

    def read(self, name: Name) -> Watermark | None:
        return Watermark(self.mark.received, self.mark.rows + self.ahead) if name == "log" else self.mark

    def publish(self, name: Name, watermark: Watermark, partition: int = 0) -> None:
        """Nobody else asks."""


class ToldControl(ControlLog):
    """A control stream with times that a test sets."""

    def __init__(self) -> None:
        self.recorded: Final[list[Recorded]] = []

    def replay(self, after: str = FIRST) -> list[tuple[str, Recorded]]:
        known = 0 if after == FIRST else int(after)
        return [(str(number), one) for number, one in enumerate(self.recorded[known:], known + 1)]


class ToldMarks(SettledMarks):
    """The mark as readers would learn of it."""

    def __init__(self) -> None:
        self.mark: SettledMark | None = None

    def publish(self, mark: SettledMark | None) -> None:
        self.mark = mark

    def read(self) -> SettledMark | None:
        return self.mark


class SettlingWorld:
    """What was delivered and recorded so far; time only goes on."""

    def __init__(self, store: Store, places: Iterable[Place], now: int = 1_000_000) -> None:
        self.store: Final = store
        self.now = now
        self.watermarks: Final = ToldWatermarks()
        self.control: Final = ToldControl()
        self.marks: Final = ToldMarks()
        self.deliveries: Final[list[Delivery]] = []
        self.settler = self.begun()
        for table in ("log", SCANS_BY_SUBJECT.table, STAYS_BY_PLACE_HOUR, "settled"):
            store.command(f"TRUNCATE TABLE {table}")
        for number, device in DEVICES.items():
            self.record(DeviceEnrolled(Device(id=device, number=number)))
            self.record(DeviceKeyAdded(DeviceKey(device=device, key=KEY, public=bytes(32), valid_from=0)))
        for place in places:
            self.record(PlaceRegistered(place))

    def begun(self, on_step: Callable[[str], None] = lambda name: None, portion_scans: int = 40) -> Settler:
        """A settler as it is after a start; it settles in small portions."""
        limits = SettlerLimits(rows_max=20, settlement=SettlementLimits(portion_scans=portion_scans))
        return Settler(self.store, self.watermarks, self.marks, self.control, limits, on_step=on_step)

    def record(self, event: ControlEvent) -> None:
        """Something is recorded now."""
        self.control.recorded.append(Recorded(self.now, event))

    def deliver(self, scans: Iterable[Delivery]) -> None:
        """The log takes these in, and the read model has each, the first one twice."""
        fresh = list(scans)
        if fresh:
            self.deliveries.extend(fresh)
            token = f"settling-{next(_tokens)}"
            self.store.insert_rowbinary("log", b"".join(map(_log_row, fresh)), token=token)
            rows = b"".join(map(_subject_row, [fresh[0], *fresh]))
            self.store.insert_rowbinary(SCANS_BY_SUBJECT.table, rows, token=token)

    def pass_time(self, ms: int) -> None:
        """What was delivered until now is in the read models."""
        self.now += ms
        self.watermarks.mark = Watermark(self.now - 1, len(self.deliveries))

    def settle(self) -> SettledMark:
        """Settle all that the read models have."""
        for _ in range(10_000):
            mark = self.marks.mark
            if not self.settler.step() and self.marks.mark == mark and mark is not None:
                return mark
        raise AssertionError("settling does not end")

    def settled(self, mark: int) -> dict[bytes, list[SettledStay]]:
        """The stays in the table as of a mark, by subject, as of for ever."""
        rules = self.rules()
        rows = self.store.rows(
            "SELECT place_hour, subject, toUnixTimestamp64Milli(start), toUnixTimestamp64Milli(end), entry::String,"
            f" exit::String, scans.device, scans.seq, settled_for FROM {STAYS_BY_PLACE_HOUR}"
        )
        latest: dict[tuple[int, bytes, int, str], tuple[int, SettledStay]] = {}
        for place_hour, subject, start, end, entry, exit_, devices, seqs, version in rows:
            assert version <= mark
            scans = tuple((rules.device_id(device), seq) for device, seq in zip(devices, seqs, strict=True))
            place = rules.places.around(FOREVER, [place_hour >> 32]).by_number[place_hour >> 32].id
            name = (place_hour, _bytes(subject), start, entry)
            stay = (place, start, end, entry, exit_, scans)
            if name not in latest or latest[name][0] < version:
                latest[name] = version, stay
            elif latest[name][0] == version:
                assert latest[name][1] == stay
        found: dict[bytes, set[SettledStay]] = {}
        hours: dict[tuple[bytes, SettledStay], set[int]] = {}
        for (place_hour, subject, _, _), (_, stay) in latest.items():
            if stay[4] != "gone":
                found.setdefault(subject, set()).add(stay)
                hours.setdefault((subject, stay), set()).add(place_hour & (2**32 - 1))
        for (_, stay), at in hours.items():
            assert at == self._hours(rules, stay, mark)
        return {subject: sorted(stays) for subject, stays in found.items()}

    def digest(self) -> Digest:
        """Of the stays as of the mark, however they came about."""
        return digest(self.store, STAYS_BY_PLACE_HOUR, upto=self._mark().received)

    def digest_anew(self) -> Digest:
        """Of the stays as of the mark, derived at once."""
        mark, table = self._mark(), f"{STAYS_BY_PLACE_HOUR}_anew"
        self.store.define(f"CREATE TABLE {table} AS {STAYS_BY_PLACE_HOUR}")
        anew = Settlement(
            self.store,
            self.rules(),
            SettlementLimits(portion_scans=30),
            scans=SCANS_BY_SUBJECT.table,
            stays=table,
            ahead=AHEAD,
        )
        for _ in anew.fill(mark.received, mark.kept_from):
            pass
        found = digest(self.store, table, upto=mark.received)
        self.store.define(f"DROP TABLE {table} SYNC")
        return found

    def walked(self, as_of: int, upto: int = FOREVER) -> dict[bytes, list[SettledStay]]:
        """Everybody's stays by the plain walk of all that counts as of a moment, as of `upto` for the open ones."""
        rules = self.rules()
        kept = Kept()
        for recorded in self.control.recorded:
            kept.apply(recorded)
        revocations = rules.keyring.revocations_as_of(as_of)
        places = rules.places.around(as_of, {one.place for one in self.deliveries})
        sightings: dict[bytes, list[Sighting]] = {}
        for one in self.deliveries:
            trusted = one.received < revocations.get((one.device, KEY), FOREVER)
            if one.received <= as_of and trusted and one.place in places.by_number and one.at >= kept.kept_from:
                sighting = Sighting(
                    one.at,
                    one.kind is not Kind.OUT,
                    rules.device_id(one.device),
                    one.seq,
                    places.by_number[one.place].id,
                )
                sightings.setdefault(one.subject, []).append(sighting)
        stays = {subject: walk(seen, places, upto) for subject, seen in sightings.items()}
        return {subject: sorted(map(_plain, found)) for subject, found in stays.items() if found}

    def rules(self) -> StayRules:
        """The registries with all that was recorded."""
        rules = StayRules()
        for recorded in self.control.recorded:
            rules.apply(recorded)
        return rules

    def _mark(self) -> SettledMark:
        assert self.marks.mark is not None
        return self.marks.mark

    def _hours(self, rules: StayRules, stay: SettledStay, mark: int) -> set[int]:
        place, start, end, *_ = stay
        number = next(
            one.event.place.number
            for one in self.control.recorded
            if isinstance(one.event, PlaceRegistered) and one.event.place.id == place
        )
        dwell = rules.places.around(mark, [number]).by_id[place].dwell_ms
        last = {max(end - 1, 0) // HOUR_MS} if end - start == STAY_MS_MAX else set()
        return {max(piece, 0) // HOUR_MS for piece in range(start, end, dwell)} | last


def known_for_ever(stays: dict[bytes, list[SettledStay]]) -> dict[bytes, list[SettledStay]]:
    """Stays of the table as the walk would have them as of for ever: what no scan ended has ended by dwell."""
    return {
        subject: sorted((*stay[:4], "dwell" if stay[4] == "unended" else stay[4], stay[5]) for stay in found)
        for subject, found in stays.items()
    }


def _plain(stay: Stay) -> SettledStay:
    return stay.place, stay.start, stay.end, str(stay.entry), str(stay.exit), stay.scans


def _bytes(subject: bytes | str) -> bytes:
    raw = subject if isinstance(subject, bytes) else subject.encode()
    return raw.ljust(16, b"\0")


def _log_row(one: Delivery) -> bytes:
    kind = KIND_NUMBER[one.kind]
    return LOG_ROW.pack(one.device, KEY, one.seq, one.at, one.received, one.place, one.subject, kind, 1)


def _subject_row(one: Delivery) -> bytes:
    kind = KIND_NUMBER[one.kind]
    return SUBJECT_ROW.pack(one.subject, one.at, one.device, one.seq, KEY, one.place, kind, one.received)
