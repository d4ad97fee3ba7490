"""Forty days of scans on their way into the read models, and what must hold of them whatever has been deleted."""

import random
import threading
from collections.abc import Callable
from typing import Final

import msgspec
import redis

from events.scans import REFUSAL_NUMBER, REFUSED_ROW, Kind, Refusal
from ingest.sink import Sink, SinkLimits
from projections.projector import READ_MODELS, Projector, ProjectorLimits
from storage.clickhouse import Store
from storage.control import ControlLog
from storage.partitions import ONLY
from storage.rebuilds import ModelDigests, Rebuilds
from storage.retention_runs import RetentionRuns, RetentionStatus
from storage.stream import ScanStream
from storage.watermarks import Watermarks
from tests.builders import entry, log_row
from tracing.gaps import Gap, GapsOf
from tracing.queries import ScansOf
from tracing.retention.keeper import Keeper, KeeperLimits
from tracing.retention.run import known
from tracing.retention.terms import Terms

DAY: Final = 86_400_000
FIRST_DAY: Final = 1_634_515_200_000
"""2021-10-18, a Monday."""
DAYS: Final = 40
DEVICES: Final = (1, 2, 3)
PEOPLE: Final = [bytes([number]) * 16 for number in range(6)]
TERMS: Final = Terms(scan_days=28, trace_days=28)
EVER: Final = 4_000_000_000_000

Sightings = set[tuple[bytes, int, int, int, int]]
"""Whose scans, when they happened (Unix ms), by which device and seq, and where."""


class Sent(msgspec.Struct, frozen=True):
    """One delivery: what the log is to hold of it."""

    device: int
    seq: int
    at: int
    received: int
    subject: int
    place: int


class Died(Exception):
    """The process ends here."""


def dying_after(count: int) -> Callable[[str], None]:
    """What ends a run after so many steps."""
    steps: list[str] = []

    def on_step(name: str) -> None:
        steps.append(name)
        if len(steps) == count:
            raise Died

    return on_step


def story(seed: int) -> list[Sent]:
    """Three devices count on for forty days. Some of what they scan is never sent, some comes days late, some comes
    again, up to weeks later and with other content.
    """
    rng = random.Random(seed)
    sent: list[Sent] = []
    for device in DEVICES:
        for number in range(DAYS * 3):
            at = FIRST_DAY + number * DAY // 3 + rng.randrange(DAY // 3)
            fate = rng.random()
            if fate < 0.1:
                continue
            received = at + (rng.randrange(27 * DAY) if fate < 0.3 else rng.randrange(60_000))
            one = Sent(device, number + 1, at, received, rng.randrange(len(PEOPLE)), rng.randrange(1, 4))
            sent.append(one)
            if rng.random() < 0.3:
                # A device whose numbers were set back: the same seq, another scan, when the first may be gone.
                again = received + rng.randrange(1, 40 * DAY)
                sent.append(Sent(device, one.seq, again - rng.randrange(60_000), again, rng.randrange(6), 1))
    return sorted((one for one in sent if one.received < FIRST_DAY + DAYS * DAY), key=lambda one: one.received)


class Scene:
    """A sink, a projector and the keeper over one stream and one store; nothing moves unless it is told to."""

    def __init__(self, valkey: "redis.Redis", store: Store) -> None:
        self._redis: Final = valkey
        self.store: Final = store
        self.now = FIRST_DAY
        self.control: Final = ControlLog(valkey)
        self.runs: Final = RetentionRuns(valkey)
        self._watermarks: Final = Watermarks(valkey)
        self._rebuilds: Final = Rebuilds(valkey)
        self._projector = self._new_projector()

    @property
    def kept_from(self) -> int:
        """Since when (Unix ms) scans are kept."""
        return known(self.control).kept.kept_from

    def deliver(self, deliveries: list[Sent]) -> None:
        """The stream takes these in at their time, and they go all the way."""
        for one in deliveries:
            refused = [] if one.place else [REFUSED_ROW.pack(one.device, 1, one.seq, one.at, 0, 1, _REASON)]
            rows = [log_row(one.device, one.seq, one.at, one.place, PEOPLE[one.subject], Kind.IN)] if one.place else []
            self._redis.xadd(ONLY.scans, {"e": entry(one.device, rows, refused=refused)}, id=f"{one.received}-*")
        sink = Sink(
            stream=ScanStream(self._redis, owner="sink"),
            store=self.store,
            watermarks=self._watermarks,
            limits=SinkLimits(idle_ms=1),
        )
        while sink.step():
            pass
        sink.step()
        while self._projector.step():
            pass

    def restart(self) -> None:
        """The projector begins anew: it remembers nothing."""
        self._projector = self._new_projector()

    def keep(
        self, now: int, *, on_step: Callable[[str], None] = lambda name: None, terms: Terms = TERMS
    ) -> RetentionStatus:
        """A run that somebody asked for at `now`."""
        self.now = now
        return self.keeper(on_step, terms).run_once(threading.Event(), "asked")

    def keeper(self, on_step: Callable[[str], None] = lambda name: None, terms: Terms = TERMS) -> Keeper:
        """The one that lets things go; its clock stands at `now`."""
        return Keeper(
            store=self.store,
            control=self.control,
            runs=self.runs,
            terms=terms,
            clock=lambda: self.now,
            limits=KeeperLimits(settle_seconds=0.0, poll_seconds=0.01, retry_seconds=0.01),
            on_step=on_step,
        )

    def rebuild(self) -> list[ModelDigests]:
        """Both sides of a rebuild of every read model, as of the same moment."""
        self._rebuilds.request("r")
        while self._projector.rebuild_step():
            pass
        status = self._rebuilds.status()
        assert status is not None
        assert status.state == "done"
        assert len(status.models) == len(READ_MODELS)
        return status.models

    def sightings(self) -> Sightings:
        """What every question reads of everybody."""
        subjects = [person.hex() for person in PEOPLE]
        query = ScansOf(subjects=subjects, as_of=EVER, until=EVER, revocations={}, kept_from=self.kept_from)
        found: Sightings = set()
        for read in query.read(self.store, str):
            people = [bytes(subject).ljust(16, b"\0") for subject in read.subjects]
            columns = (read.scans.subject, read.scans.at, read.scans.device, read.scans.seq, read.scans.place)
            for who, *scan in zip(*(column.tolist() for column in columns), strict=True):
                found.add((people[who], *scan))
        return found

    def gaps(self) -> dict[int, list[Gap]]:
        """What is missing of every device."""
        return {device: GapsOf(device=device, as_of=EVER, after=0, limit=1_000).read(self.store) for device in DEVICES}

    def retired(self, device: int) -> set[int]:
        """The seqs of a device that are retired."""
        rows = self.store.rows(f"SELECT first, upto FROM retired WHERE device = {device}")
        return {seq for first, upto in rows for seq in range(first, upto + 1)}

    def days(self, table: str) -> list[str]:
        """The days or weeks that a table has rows of."""
        column, unit = ("at", "toMonday") if table.startswith("scans_by") else ("received", "toDate")
        return [
            str(day) for (day,) in self.store.rows(f"SELECT DISTINCT {unit}({column}) AS day FROM {table} ORDER BY day")
        ]

    def _new_projector(self) -> Projector:
        return Projector(
            self.store,
            self._watermarks,
            self._rebuilds,
            ProjectorLimits(rows_max=150),
            kept_from=lambda: self.kept_from,
        )


_REASON: Final = REFUSAL_NUMBER[Refusal.EXPIRED_CODE]


def expected_sightings(deliveries: list[Sent], kept_from: int) -> Sightings:
    """By the definition: of each seq the delivery taken in first, if it happened when scans are kept."""
    found: Sightings = set()
    seen: set[tuple[int, int]] = set()
    for one in deliveries:
        if one.place == 0 or (one.device, one.seq) in seen:
            continue
        seen.add((one.device, one.seq))
        if one.at >= kept_from:
            found.add((PEOPLE[one.subject], one.at, one.device, one.seq, one.place))
    return found


def expected_gaps(deliveries: list[Sent]) -> dict[int, list[tuple[int, int]]]:
    """The runs of seqs that never came, below any that did, by device."""
    gaps: dict[int, list[tuple[int, int]]] = {device: [] for device in DEVICES}
    for device in DEVICES:
        came = sorted({one.seq for one in deliveries if one.device == device})
        for before, after in zip([0, *came], came, strict=False):
            if after > before + 1:
                gaps[device].append((before + 1, after - 1))
    return gaps
