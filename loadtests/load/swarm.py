"""Locust's processes on this machine: one, or a master with workers; each ends with its report or is ended."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from app.ports import free_port
from loadtests.load.options import (
    BACKLOG_SCANS_DEFAULT,
    BATCH_SCANS_DEFAULT,
    RUN_SECONDS_DEFAULT,
    TOKEN_VARIABLE,
    USERS_DEFAULT,
)
from loadtests.load.shapes import Shape
from loadtests.load.target import Target

LOCUSTFILE: Final = Path(__file__).parents[1] / "locustfile.py"
LOOPBACK: Final = "127.0.0.1"
STOP_SECONDS: Final = 20
"""How long users may take to finish what they are doing when the run is over."""
SPARE_SECONDS: Final = 90
"""How much longer than the run Locust may take before it is ended: start, enrolment, last answers, report."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How hard, for how long, and by how many processes (0 workers: one process does it all)."""

    shape: Shape = Shape.STEADY
    users: int = USERS_DEFAULT
    seconds: int = RUN_SECONDS_DEFAULT
    batch_scans: int = BATCH_SCANS_DEFAULT
    backlog_scans: int = BACKLOG_SCANS_DEFAULT
    workers: int = 0


class Report(msgspec.Struct, frozen=True):
    """Where everything about one run lies."""

    directory: Path

    @property
    def html(self) -> Path:
        """Locust's report."""
        return self.directory / "report.html"

    @property
    def csv_prefix(self) -> Path:
        """Locust's tables: this with `_stats.csv`, `_stats_history.csv`, `_failures.csv` and `_exceptions.csv`."""
        return self.directory / "locust"

    @property
    def ledger(self) -> Path:
        """The ledgers of all processes."""
        return self.directory / "ledger"


def run_locust(target: Target, plan: Plan, report: Report) -> int:
    """Locust from its start to its report. Returns the worst exit code: 0 where no request failed.

    Raises `subprocess.TimeoutExpired` where it does not come to an end.
    """
    environment = os.environ | {TOKEN_VARIABLE: target.token}
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(_process(command, environment)) for command in commands(target, plan, report)]
        deadline = time.monotonic() + plan.seconds + SPARE_SECONDS
        return max((process.wait(max(0.0, deadline - time.monotonic())) for process in running), key=abs)


def commands(target: Target, plan: Plan, report: Report) -> list[list[str]]:
    """The command of each process, the one that reports first. The token travels in their environment."""
    locust = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--loglevel", "WARNING"]
    run = [
        *("--headless", "--only-summary", "--host", target.ingest_url, "--api-url", target.api_url),
        *("--shape", plan.shape.value, "--users", str(plan.users), "--run-time", f"{plan.seconds}s"),
        *("--batch-scans", str(plan.batch_scans), "--backlog-scans", str(plan.backlog_scans)),
        *("--ledger", str(report.ledger)),
        *(("--codes", str(target.codes)) if target.codes is not None else ()),
        *("--html", str(report.html), "--csv", str(report.csv_prefix), "--stop-timeout", str(STOP_SECONDS)),
    ]
    if not plan.workers:
        return [[*locust, *run]]
    port = str(free_port())
    master = ["--master", "--master-bind-host", LOOPBACK, "--master-bind-port", port]
    expected = ["--expect-workers", str(plan.workers), "--expect-workers-max-wait", str(SPARE_SECONDS)]
    worker = ["--worker", "--master-host", LOOPBACK, "--master-port", port]
    return [[*locust, *run, *master, *expected], *([*locust, *worker] for _ in range(plan.workers))]


@contextlib.contextmanager
def _process(command: list[str], environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that does not outlive the block."""
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
