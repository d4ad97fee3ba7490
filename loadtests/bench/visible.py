"""ingest.visible: how long after its acknowledgement a scan shows in a trace, while scans come in at a steady rate.

What traces see is what the read models' watermark has passed. A watcher notes when it passes what; each batch's wait
is from its answer to the first watermark at or past the time that the stream gave it. To prove that the watermark
means what it says, the watcher keeps asking the trace API for the stays of somebody whose scan it has just passed.
"""

import http.client
import threading
import time
from bisect import bisect_left
from typing import Final

import msgspec
import numpy as np

from events import codec
from events.scans import KIND_NUMBER, Kind
from loadtests.bench.bodies import Order, Request
from loadtests.bench.client import Outcome
from loadtests.bench.figures import latency, quantiles_ms
from loadtests.bench.report import Result
from loadtests.bench.session import Session
from loadtests.bench.system import System
from loadtests.bench.world import World, seqs
from projections.stays import Stay
from storage.watermarks import Watermarks
from tracing.decoding import PURPOSE_HEADER

SCANS_PER_SECOND: Final = 50_000
TIME_PART: Final = 1 / 2
CONNECTIONS: Final = 64
P99_SECONDS_MAX: Final = 2.0
ASK_SECONDS: Final = 0.5
"""How often somebody's stays are asked for."""
ANSWER_SECONDS_MAX: Final = 30.0
FOLLOW_SECONDS_MAX: Final = 0.5
FINDINGS_KEPT: Final = 10


class Page(msgspec.Struct, frozen=True):
    """What is read of a page of stays."""

    items: list[Stay]


class Watcher(threading.Thread):
    """Notes when the read models' watermark passes what, and asks for stays in between.

    `passed` are (watermark in ms, monotonic seconds); `asked` the seconds that each answer took; `missing` the scans
    that were not in an answer although the watermark had passed them.
    """

    def __init__(self, system: System, world: World, requests: list[Request]) -> None:
        super().__init__(name="watcher", daemon=True)
        self.passed: Final[list[tuple[int, float]]] = []
        self.asked: Final[list[float]] = []
        self.missing: Final[list[str]] = []
        self.outcome: Outcome | None = None
        self._system: Final = system
        self._world: Final = world
        self._requests: Final = requests
        self._subjects: Final = world.subjects()
        self._stopped: Final = threading.Event()

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stopped.set()
        self.join()

    def begin(self, outcome: Outcome) -> None:
        """Learn where the load takes its account; a load's tick."""
        self.outcome = outcome

    def run(self) -> None:
        """Until stopped."""
        watermarks, received, due = Watermarks(self._system.redis), 0, time.monotonic()
        while not self._stopped.is_set():
            mark = watermarks.follow("read-models", received, FOLLOW_SECONDS_MAX)
            if mark is None:
                continue
            received = mark.received
            self.passed.append((received, time.monotonic()))
            if time.monotonic() >= due:
                due = time.monotonic() + ASK_SECONDS
                self._ask(received)

    def _ask(self, upto: int) -> None:
        """Ask for the stays of somebody who entered in the newest acknowledged batch that the watermark has passed."""
        place = self._newest(upto)
        if place is None:
            return
        request = self._requests[place]
        scans = self._world.scans(request.device, seqs(request.first, request.count))
        entries = np.flatnonzero(scans.kind == KIND_NUMBER[Kind.IN])
        if not len(entries):
            return
        scan = entries[0]
        seq, at = int(scans.seq[scan]), int(scans.at[scan])
        began = time.monotonic()
        stays = self._stays(self._subjects[scans.person[scan]].tobytes().hex(), at, upto)
        self.asked.append(time.monotonic() - began)
        wanted = (self._world.device(request.device).id, seq)
        if not any(wanted in stay.scans for stay in stays) and len(self.missing) < FINDINGS_KEPT:
            self.missing.append(f"the scan {wanted} is in no stay although the watermark has passed it")

    def _newest(self, upto: int) -> int | None:
        """The place in the load of the newest batch that was acknowledged and received at or before `upto` (ms)."""
        if self.outcome is None:
            return None
        entries = self.outcome.entries
        newest = next((n for n in range(len(entries) - 1, -1, -1) if received_ms(entries[n]) <= upto), None)
        return None if newest is None else self.outcome.acknowledged[newest]

    def _stays(self, subject: str, at: int, as_of: int) -> list[Stay]:
        settings = self._system.settings
        connection = http.client.HTTPConnection(settings.trace_host, settings.trace_port, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.request(
                "GET",
                f"/v1/subjects/{subject}/stays?from={at}&to={at + 1}&as_of={as_of}",
                headers={
                    "Authorization": f"Bearer {self._system.embedded.token}",
                    PURPOSE_HEADER: "measuring when scans become visible",
                },
            )
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            self.missing.append(f"the trace service answered {response.status}")
            return []
        return codec.from_json(body, Page).items


def received_ms(entry: str) -> int:
    """When the stream took in the entry of this id, Unix ms."""
    return int(entry.partition("-")[0])


def waits(outcome: Outcome, passed: list[tuple[int, float]]) -> list[float]:
    """For each acknowledged batch, the seconds from its answer to the first watermark past it; 0 where that was first.

    Batches that no watermark has passed are left out.
    """
    marks = [mark for mark, _ in passed]
    found = []
    for entry, answered in zip(outcome.entries, outcome.answered, strict=True):
        n = bisect_left(marks, received_ms(entry))
        if n < len(passed):
            found.append(max(passed[n][1] - answered, 0.0))
    return found


def run(session: Session) -> Result:
    """The p99 of the waits."""
    sizes = session.sizes
    seconds, per_second = sizes.seconds * TIME_PART, sizes.visible_scans_per_second / sizes.batch_scans
    with session.trial("visible") as trial:
        order = Order(sizes.probe_requests, sizes.batch_scans, "msgpack", "zstd")
        trial.load(trial.make(order), connections=CONNECTIONS, seconds=seconds, per_second=per_second)
        trial.await_read_models()
        requests = trial.make(msgspec.structs.replace(order, requests=int(per_second * seconds) + 1))
        watcher = Watcher(trial.system, session.population.world, requests)
        watcher.start()
        try:
            session.say(f"{sizes.visible_scans_per_second:,} scans/s for {seconds:.0f} s")
            outcome = trial.load(
                requests, connections=CONNECTIONS, seconds=2 * seconds, per_second=per_second, on_tick=watcher.begin
            )
            trial.await_read_models()
        finally:
            watcher.stop()
        session.say("checking the log row by row")
        verdict = trial.verdict()
    found = waits(outcome, watcher.passed)
    unseen = len(outcome.entries) - len(found)
    quantiles = quantiles_ms(found)
    p99 = quantiles["p99_ms"] / 1000
    return Result(
        bench="ingest.visible",
        value=p99,
        unit="s (p99)",
        baseline="s (p50)",
        baseline_value=quantiles["p50_ms"] / 1000,
        target=f"p99 ≤ {P99_SECONDS_MAX:g} s at {SCANS_PER_SECOND:,} scans/s",
        met=p99 <= P99_SECONDS_MAX,
        progress=P99_SECONDS_MAX / max(p99, 1e-9),
        figures={
            "scans_per_second": round(outcome.scans / outcome.seconds),
            "visible": quantiles,
            "ack": latency(outcome),
            "stays_asked": len(watcher.asked),
            "stays": quantiles_ms(watcher.asked) if watcher.asked else None,
            "check": verdict,
        },
        failures=trial.faults
        + verdict.failures()
        + watcher.missing
        + ([f"{unseen} batches were never visible"] if unseen else []),
    )
