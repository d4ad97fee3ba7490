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


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """A backlog worked off. Seconds count from the moment when the store goes on."""

    scans: int
    stream_bytes: int
    fill_rate: float
    log_seconds: float
    read_models_seconds: float
    cpu_seconds_log: dict[str, float]
    cpu_seconds_read_models: dict[str, float]
    verdict: Verdict
    faults: list[str]

    @property
    def failures(self) -> list[str]:
        """Checks that did not hold."""
        return self.faults + self.verdict.failures()


def drain(session: Session) -> Result:
    """sink.drain: until the log has all of it."""
    backlog = worked_off(session)
    rate = backlog.scans / backlog.log_seconds
    return Result(
        bench="sink.drain",
        value=rate,
        unit="scans/s",
        baseline=FILL_BASELINE,
        baseline_value=backlog.fill_rate,
        target=f"≥ {DRAIN_TARGET:,.0f} scans/s",
        met=rate >= DRAIN_TARGET,
        progress=rate / DRAIN_TARGET,
        figures={
            "scans": backlog.scans,
            "seconds": round(backlog.log_seconds, 2),
            "stream_bytes_per_scan": round(backlog.stream_bytes / backlog.scans, 1),
            "cpu_seconds": backlog.cpu_seconds_log,
            "cpu_seconds_per_million_scans": per_million(backlog.cpu_seconds_log, backlog.scans),
            "check": backlog.verdict,
        },
        failures=backlog.failures,
    )


def catchup(session: Session) -> Result:
    """projections.catchup: until traces see all of it."""
    backlog = worked_off(session)
    rate = backlog.scans / backlog.read_models_seconds
    return Result(
        bench="projections.catchup",
        value=rate,
        unit="scans/s",
        baseline=FILL_BASELINE,
        baseline_value=backlog.fill_rate,
        target=f"≥ {CATCHUP_TARGET:,.0f} scans/s",
        met=rate >= CATCHUP_TARGET,
        progress=rate / CATCHUP_TARGET,
        figures={
            "scans": backlog.scans,
            "seconds": round(backlog.read_models_seconds, 2),
            "cpu_seconds": backlog.cpu_seconds_read_models,
            "cpu_seconds_per_million_scans": per_million(backlog.cpu_seconds_read_models, backlog.scans),
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
        log_seconds=logged - began,
        read_models_seconds=visible - began,
        cpu_seconds_log=cpu_between(before, after_log),
        cpu_seconds_read_models=cpu_between(before, after_read_models),
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
