"""A world in the real read models: places and devices registered, scans delivered, questions asked."""

import itertools
import random
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

from events.cases import Case
from events.control import CaseConfirmed, DeviceEnrolled, DeviceKeyAdded, DeviceKeyRevoked, PlaceRegistered, Recorded
from events.devices import Device, DeviceKey
from events.places import Place
from events.scans import HOW_NUMBER, KIND_NUMBER, LOG_ROW, How
from projections.settlement import Change, Settlement, SettlementLimits
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR
from storage.clickhouse import Store
from storage.settled import SettledMark
from storage.watermarks import Asked, Laid, Name, Watermark
from tests.projections.settling import AHEAD
from tests.tracing.cases import CaseScan, WorkedCase, counted, place_list
from tracing.answer import Answer, Tracer
from tracing.moment import ReadModels
from tracing.question import Index, Question
from tracing.registry import CaughtUp as RegistryCaughtUp
from tracing.registry import Registry

SUBJECT_ROW: Final = struct.Struct("<16sqIQHIbq")
PLACE_HOUR_ROW: Final = struct.Struct("<Q16sqIQHbq")
HOUR_MS: Final = 3_600_000
FOREVER: Final = 2**62
DEVICE_KEY: Final = 1

_tokens = itertools.count()


class CaughtUp:
    """Read models that have everything, as far as `received`."""

    def __init__(self, received: int = FOREVER) -> None:
        self.received = received
        self.rows = 0

    def wait(self, name: Name, received: int, timeout_seconds: float) -> Watermark | None:
        assert name == "read-models"
        return Watermark(self.received, self.rows) if received <= self.received else None

    def ask(self, received: int) -> Asked | None:
        return Asked(Watermark(self.received, self.rows), nudged=False)

    def wait_laid(self, received: int, asked: Asked, timeout_seconds: float) -> Laid | None:
        return None


class Arriving:
    """Read models that have what was `received` by a moment; the rest is laid and folded in once it is waited for."""

    def __init__(self, world: "World", scans: list[CaseScan], received: int) -> None:
        self.received = received
        self.folded = 0
        self.on_laid: Callable[[], None] = lambda: None
        """Called right after the rest is laid, which may be never."""
        self.stuck = False
        self.quiet = False
        """Whether the read models turn out to have all of it, by then."""
        self._world: Final = world
        self._log: Final = [scan for scan in scans if scan.received > received]
        self._models: Final = self._log.copy()
        self._rows: Final = len(scans)
        for scan in scans:
            world.device_number(scan.device)
        before = [scan for scan in scans if scan.received <= received]
        world.lay(before)
        world.fold(before)

    def ask(self, received: int) -> Asked | None:
        return Asked(self._mark(), nudged=True)

    def wait_laid(self, received: int, asked: Asked, timeout_seconds: float) -> Laid | None:
        if self.stuck:
            return None
        self._lay()
        self.on_laid()
        return Laid(received, self._rows, folded=self.quiet)

    def wait(self, name: Name, received: int, timeout_seconds: float) -> Watermark | None:
        assert name == "read-models"
        if received > self.received:
            self._lay()
            self._world.fold(self._models)
            self._models.clear()
            self.folded += 1
        return Watermark(max(received, self.received), self._rows - len(self._models))

    def _lay(self) -> None:
        self._world.lay(self._log)
        self._log.clear()

    def _mark(self) -> Watermark:
        return Watermark(self.received, self._rows - len(self._models))


def pseudonym(name: str) -> str:
    """A short name as a pseudonym that sorts as the name does."""
    return name.encode().hex().ljust(32, "0")


def name_of(subject: str) -> str:
    """The short name again."""
    return bytes.fromhex(subject).rstrip(b"\0").decode()


class World:
    """A registry and two read models. What is delivered twice lies in them twice, as it may until parts merge."""

    def __init__(self, store: Store, places: Iterable[Place]) -> None:
        self.store: Final = store
        self.registry: Final = Registry()
        self.watermarks: Final = CaughtUp()
        self.now = FOREVER
        self.mark: SettledMark | None = None
        self._places: Final[dict[str, int]] = {}
        self._devices: Final[dict[str, int]] = {}
        for table in ("log", "scans_by_subject", "scans_by_place_hour", STAYS_BY_PLACE_HOUR):
            store.command(f"TRUNCATE TABLE {table}")
        for place in places:
            self.register(place, 0)

    def register(self, place: Place, at: int) -> None:
        """A version of a place, recorded at `at` (ms)."""
        self._places[place.id] = place.number
        self.registry.apply(Recorded(at, PlaceRegistered(place)))

    def confirm(self, case: Case, at: int) -> None:
        """A version of a case, recorded at `at` (ms)."""
        self.registry.apply(Recorded(at, CaseConfirmed(case)))

    def revoke(self, device: str, revoked_from: int, at: int) -> None:
        """The device's key is not trusted from `revoked_from` on, as recorded at `at` (ms)."""
        self.registry.apply(Recorded(at, DeviceKeyRevoked(device, DEVICE_KEY, revoked_from)))

    def deliver(self, deliveries: Iterable[CaseScan]) -> None:
        """Put the first delivery of each scan into the log and into both read models."""
        scans = counted(deliveries, FOREVER)
        self.lay(scans)
        self.fold(scans)

    def lay(self, scans: list[CaseScan]) -> None:
        """Put first deliveries into the log."""
        self._insert("log", b"".join(self._log_row(scan) for scan in scans))

    def fold(self, scans: list[CaseScan]) -> None:
        """Put first deliveries into both read models, each row twice and in another order."""
        for repetition in range(2):
            random.Random(repetition).shuffle(scans)
            self._insert("scans_by_subject", b"".join(self._subject_row(scan) for scan in scans))
            self._insert("scans_by_place_hour", b"".join(self._place_hour_row(scan) for scan in scans))
        self.watermarks.rows += len(scans)

    def settle(self, upto: int) -> None:
        """Settle the stays of what is delivered, as far as it was received by `upto` (ms); from the last mark on."""
        settlement = Settlement(
            self.store,
            self.registry.stay_rules,
            SettlementLimits(),
            scans="scans_by_subject",
            stays=STAYS_BY_PLACE_HOUR,
            ahead=AHEAD,
        )
        ((rows,),) = self.store.rows(
            "SELECT count() FROM log WHERE received <= fromUnixTimestamp64Milli({upto:Int64})", {"upto": upto}
        )
        work = (
            settlement.fill(upto, 0)
            if self.mark is None
            else settlement.advance(Change(self.mark, upto, {}), rows - self.mark.rows)
        )
        for _ in work:
            pass
        self.mark = SettledMark(upto, rows, unplaced=settlement.unplaced())

    def tracer(self) -> Tracer:
        """Asks these read models; its clock stands at `now`."""
        return self.tracer_awaiting(self.watermarks, seed=1)

    def tracer_awaiting(
        self, watermarks: ReadModels, *, seed: int, caught_up: RegistryCaughtUp = lambda seconds: True
    ) -> Tracer:
        """The same with other watermarks, ids of another seed, and another way to know that the registry is whole."""
        return Tracer(
            store=self.store,
            registry=self.registry,
            caught_up=caught_up,
            watermarks=watermarks,
            clock=lambda: self.now,
            random=random.Random(seed).randbytes,
            settled=lambda: self.mark,
        )

    def place_number(self, place: str) -> int:
        """The number that rows call it by."""
        return self._places[place]

    def device_number(self, device: str) -> int:
        """The number that rows call it by, enrolled now if need be; numbers count down: their order is not the ids'."""
        if device not in self._devices:
            self._devices[device] = number = 1_000_000 - len(self._devices)
            key = DeviceKey(device=device, key=DEVICE_KEY, public=bytes(32), valid_from=0)
            self.registry.apply(Recorded(0, DeviceEnrolled(Device(id=device, number=number))))
            self.registry.apply(Recorded(0, DeviceKeyAdded(key)))
        return self._devices[device]

    def _insert(self, table: str, data: bytes) -> None:
        self.store.insert_rowbinary(table, data, token=f"world-{next(_tokens)}")

    def _subject_row(self, scan: CaseScan) -> bytes:
        return SUBJECT_ROW.pack(
            bytes.fromhex(pseudonym(scan.subject)),
            scan.at,
            self.device_number(scan.device),
            scan.seq,
            DEVICE_KEY,
            self.place_number(scan.place),
            KIND_NUMBER[scan.kind],
            scan.received,
        )

    def _log_row(self, scan: CaseScan) -> bytes:
        return LOG_ROW.pack(
            self.device_number(scan.device),
            DEVICE_KEY,
            scan.seq,
            scan.at,
            scan.received,
            self.place_number(scan.place),
            bytes.fromhex(pseudonym(scan.subject)),
            KIND_NUMBER[scan.kind],
            HOW_NUMBER[How.CODE],
        )

    def _place_hour_row(self, scan: CaseScan) -> bytes:
        return PLACE_HOUR_ROW.pack(
            (self.place_number(scan.place) << 32) + scan.at // HOUR_MS,
            bytes.fromhex(pseudonym(scan.subject)),
            scan.at,
            self.device_number(scan.device),
            scan.seq,
            DEVICE_KEY,
            KIND_NUMBER[scan.kind],
            scan.received,
        )


def traced(store: Store, case: WorkedCase) -> dict[str, Any]:
    """The answer through the database, in the form of the worked cases."""
    world = World(store, place_list(case.places))
    world.deliver(case.scans)
    answer = world.tracer().trace(question_of(case))
    return {"contacts": contact_rows(answer), "chain": chain_rows(answer)}


def question_of(case: WorkedCase) -> Question:
    """A worked case's question as the API takes it."""
    query = case.query
    return Question(
        index=Index(subjects=tuple(pseudonym(name) for name in query.index)),
        from_=query.from_,
        to=query.to,
        lag_seconds=query.lag_ms // 1000,
        min_seconds=query.min_ms / 1000,
        rule=query.rule,
        as_of=query.as_of,
        depth=query.depth,
        latency_seconds=query.latency_ms // 1000,
    )


def contact_rows(answer: Answer) -> list[dict[str, Any]]:
    """The contacts at depth 1 as the worked cases write them."""
    return [
        {
            "subject": name_of(contact.subject),
            "ms": contact.ms,
            "first": contact.first,
            "last": contact.last,
            "encounters": [
                {"start": one.start, "end": one.end, "place": one.place, "index": name_of(one.index)}
                for one in contact.encounters
            ],
        }
        for contact in answer.contacts
        if contact.depth == 1
    ]


def chain_rows(answer: Answer) -> list[dict[str, Any]]:
    """The chain as the worked cases write it."""
    return [
        {
            name_of(contact.subject): [[name_of(edge.subject), edge.first] for edge in contact.via]
            for contact in answer.contacts
            if contact.depth == depth
        }
        for depth in range(1, answer.question.depth + 1)
    ]
