"""sink.drain and projections.catchup: a backlog that grew while the store was away, and how fast it is worked off.

The backlog comes through the real edge while the store process is halted, so its entries are the edge's own. Then the
store goes on as in production: sink, projector and trace service at once.
"""

import functools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from loadtests.bench.bodies import Order
from loadtests.bench.check import Verdict
from loadtests.bench.full_load import CONNECTIONS, per_million
from loadtests.bench.processes import cpu_between
from loadtests.bench.report import Result
from loadtests.bench.session import Session

FILL_SECONDS_MAX: Final = 240.0
"""Signatures are taken for 300 s."""
STREAM_BYTES_MAX: Final = 6_000_000_000
DRAIN_TARGET: Final = 1_000_000.0
CATCHUP_TARGET: Final = 200_000.0
FILL_BASELINE: Final = "scans/s into the stream, by the edge alone"


class Reached(msgspec.Struct, frozen=True):
    """When all of it was there, in seconds since the store went on, and the CPU seconds of each process until then."""

    seconds: float
    cpu_seconds: dict[str, float]


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """A backlog worked off. `fill_rate`: scans a second at which it was made."""

    scans: int
    stream_bytes: int
    fill_rate: float
    log: Reached
    read_models: Reached
    verdict: Verdict
    faults: list[str]

    @property
    def failures(self) -> list[str]:
        """Checks that did not hold."""
        return self.faults + self.verdict.failures()


def drain(session: Session) -> Result:
    """sink.drain: until the log has all of it."""
    backlog = worked_off(session)
    stream_bytes = round(backlog.stream_bytes / backlog.scans, 1)
    return _result("sink.drain", DRAIN_TARGET, backlog, backlog.log, stream_bytes_per_scan=stream_bytes)


def catchup(session: Session) -> Result:
    """projections.catchup: until traces see all of it."""
    backlog = worked_off(session)
    return _result("projections.catchup", CATCHUP_TARGET, backlog, backlog.read_models)


def _result(bench: str, target: float, backlog: Backlog, reached: Reached, **figures: float) -> Result:
    """The rate at which the backlog was worked off until that was reached; `figures` are the bench's own."""
    rate = backlog.scans / reached.seconds
    return Result(
        bench=bench,
        value=rate,
        unit="scans/s",
        baseline=FILL_BASELINE,
        baseline_value=backlog.fill_rate,
        target=f"≥ {target:,.0f} scans/s",
        met=rate >= target,
        progress=rate / target,
        figures={
            "scans": backlog.scans,
            "seconds": round(reached.seconds, 2),
            **figures,
            "cpu_seconds": reached.cpu_seconds,
            "cpu_seconds_per_million_scans": per_million(reached.cpu_seconds, backlog.scans),
            "check": backlog.verdict,
        },
        failures=backlog.failures,
    )


@functools.cache
def worked_off(session: Session) -> Backlog:
    """Make a backlog and have it worked off; once a session."""
    sizes = session.sizes
    with session.trial("backlog", TRUYVET_STREAM_BYTES_MAX=str(STREAM_BYTES_MAX)) as trial:
        system = trial.system
        session.say(f"making a backlog of {sizes.backlog_scans:,} scans")
        order = Order(sizes.backlog_scans // sizes.batch_scans, sizes.batch_scans, "msgpack", "zstd")
        requests = trial.make(order)
        with _halted(system.embedded.pids["store"]):
            filled = trial.load(requests, connections=CONNECTIONS, seconds=FILL_SECONDS_MAX)
            stream_bytes = system.stream_bytes()
            before, began = system.usages(), time.monotonic()
        session.say(f"{filled.scans:,} scans wait ({stream_bytes / 1e6:,.0f} MB); the store goes on")
        logged = trial.await_log()
        after_log = system.usages()
        session.say(f"in the log after {logged - began:.1f} s; waiting for the read models")
        visible = trial.await_read_models()
        after_read_models = system.usages()
        session.say(f"visible after {visible - began:.1f} s; checking the log row by row")
        verdict = trial.verdict()
    return Backlog(
        scans=filled.scans,
        stream_bytes=stream_bytes,
        fill_rate=filled.scans / filled.seconds,
        log=Reached(logged - began, cpu_between(before, after_log)),
        read_models=Reached(visible - began, cpu_between(before, after_read_models)),
        verdict=verdict,
        faults=trial.faults,
    )


@contextmanager
def _halted(pid: int) -> Iterator[None]:
    """The process stands still within."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
