"""ingest.ack: how long a sender waits until its scans are safe, at half of what the service can take."""

import math
from typing import Final

import msgspec

from loadtests.bench.bodies import Format, Order
from loadtests.bench.figures import latency
from loadtests.bench.full_load import headline
from loadtests.bench.report import Result
from loadtests.bench.session import Session
from loadtests.bench.single import singles_load
from loadtests.bench.trial import Trial

CONNECTIONS: Final = 64
LOAD_PART: Final = 0.5
TIME_PART: Final = 1 / 3
P99_MS_MAX: Final = 50.0
P99_TO_P50_MAX: Final = 10.0


class Load(msgspec.Struct, frozen=True):
    """A kind of request, how many to warm up with, and how many a second."""

    name: str
    order: Order
    per_second: float


class Waits(msgspec.Struct, frozen=True):
    """How long the requests of a load waited, in ms."""

    load: str
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def progress(self) -> float:
        """1 where both limits of the target are kept."""
        return min(P99_MS_MAX / self.p99_ms, P99_TO_P50_MAX * self.p50_ms / self.p99_ms)


def run(session: Session) -> Result:
    """Each kind of load at its pace, one after the other on one service; the worst p99 is the value."""
    loads = _loads(session)
    with session.trial("ack") as trial:
        waits = [_waits(session, trial, load) for load in loads]
        trial.await_log()
        session.say("checking the log row by row")
        verdict = trial.verdict()
    worst = max(waits, key=lambda each: each.p99_ms)
    return Result(
        bench="ingest.ack",
        value=worst.p99_ms,
        unit="ms (p99)",
        baseline="ms (p50)",
        baseline_value=worst.p50_ms,
        target=f"p99 ≤ {P99_TO_P50_MAX:.0f} × p50 and ≤ {P99_MS_MAX:.0f} ms",
        met=all(each.progress >= 1 for each in waits),
        progress=min(each.progress for each in waits),
        figures={"loads": waits, "check": verdict},
        failures=trial.faults + verdict.failures(),
    )


def _loads(session: Session) -> list[Load]:
    """Half of each maximum that the other benches found."""
    return [_batches(session, "msgpack"), _batches(session, "json"), _singles(session)]


def _batches(session: Session, format: Format) -> Load:
    scans = session.sizes.batch_scans
    rate = headline(session, format).rate / scans
    return Load(f"batch.{format}", Order(session.sizes.probe_requests, scans, format, "zstd"), rate * LOAD_PART)


def _singles(session: Session) -> Load:
    return Load("single", Order(session.sizes.probe_requests, 1), singles_load(session).rate * LOAD_PART)


def _waits(session: Session, trial: Trial, load: Load) -> Waits:
    seconds, order = session.sizes.seconds * TIME_PART, load.order
    trial.load(trial.make(order), connections=CONNECTIONS, seconds=seconds, per_second=load.per_second)
    requests = trial.make(msgspec.structs.replace(order, requests=math.ceil(load.per_second * seconds)))
    session.say(f"{load.name} at {load.per_second:,.0f} requests/s for {seconds:.0f} s")
    # Longer than the pace needs: requests that fall behind are answered all the same, and count.
    outcome = trial.load(requests, connections=CONNECTIONS, seconds=2 * seconds, per_second=load.per_second)
    return Waits(load.name, load.per_second, **latency(outcome))
