"""One process of the service, as `truyvet` runs it, made mortal: it dies where the campaign's orders say.

Waits are shorter here than in service, so that a stalled link outlasts them within a round.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

import msgspec

from app import cli, stream_client
from app.processes import backend
from ingest.receive import ScanEdge
from ingest.sink import Sink, SinkLimits
from ingest.sink_crew import CrewLimits
from loadtests.faults.reads import serve_reads
from loadtests.faults.reaper import Reaper
from projections.projector import Projector
from storage.clickhouse import Store
from storage.stream import FrozenRange, ScanStream

ANSWER_SECONDS_MAX: Final = 1.0
"""How long the processes wait for Valkey here."""
SINK_LIMITS: Final = SinkLimits(pace_ms=50, lease_seconds=1.5, retry_seconds=0.1)
CREW_LIMITS: Final = CrewLimits(attend_seconds=0.3, absent_seconds=1.5)
INGEST: Final = "ingest-worker"

OnStep = Callable[[str], None]


class Task(msgspec.Struct, frozen=True):
    """Which process to be, by `truyvet`'s arguments and environment.

    `orders` holds the orders to die; the output goes beside it. `read_port`, where it is not 0: the process that owns
    an embedded store lets the audit read it there. `hasty`: the sink acknowledges before it inserts, which a campaign
    must find out.
    """

    name: str
    arguments: list[str]
    environment: dict[str, str]
    orders: Path
    read_port: int = 0
    hasty: bool = False


class MortalStore(Store):
    """The store, with a step after each table's rows."""

    def __init__(self, url: str, *, on_step: OnStep, **options: Any) -> None:
        super().__init__(url, **options)
        self._on_step: Final = on_step

    def insert_rowbinary(self, table: str, data: bytes, *, token: str = "") -> None:
        """Insert, then take the step `inserted TABLE`."""
        super().insert_rowbinary(table, data, token=token)
        self._on_step(f"inserted {table}")


class HastyStream(ScanStream):
    """A sink's end of the stream that is wrong on purpose: it acknowledges a range before its rows are in the log."""

    def freeze(self, frozen: FrozenRange) -> None:
        """Freeze the range, and move the cursor past it at once."""
        super().freeze(frozen)
        super().commit(frozen, rows=0, size=0)


def mortal(make: Callable[..., Any], reaper: OnStep) -> Callable[..., Any]:
    """A constructor whose `on_step` calls the reaper as well."""

    def made(*arguments: Any, on_step: OnStep = lambda name: None, **named: Any) -> Any:
        def both(step: str) -> None:
            on_step(step)
            reaper(step)

        return make(*arguments, on_step=both, **named)

    return made


@contextlib.contextmanager
def equipped(task: Task) -> Iterator[None]:
    """The service's parts are made mortal while this lasts; nothing else about them changes."""
    with contextlib.ExitStack() as changes:

        def change(module: Any, name: str, value: Any) -> None:
            changes.enter_context(mock.patch.object(module, name, value))

        change(stream_client, "REDIS_SECONDS_MAX", ANSWER_SECONDS_MAX)
        if INGEST in task.arguments:
            from app.processes import ingest  # noqa: PLC0415 - the others start faster without

            change(ingest, "ScanEdge", mortal(ScanEdge, Reaper(task.orders, "ingest")))
        else:
            sink_reaper = Reaper(task.orders, "sink")

            def store(url: str, **options: Any) -> Store:
                opened = MortalStore(url, on_step=sink_reaper, **options)
                if task.read_port:
                    serve_reads(opened, task.read_port)
                return opened

            def patient(**named: Any) -> Any:
                return backend_sink(**{"limits": SINK_LIMITS, **named})

            backend_sink = mortal(Sink, sink_reaper)
            change(backend, "Store", store)
            change(backend, "Sink", patient)
            change(backend, "CrewLimits", lambda: CREW_LIMITS)
            change(backend, "Projector", mortal(Projector, Reaper(task.orders, "projector")))
            if task.hasty:
                change(backend, "ScanStream", HastyStream)
        yield


def run(task: Task, supervisor: socket.socket) -> None:
    """Be that process to its end. `supervisor`: this process's end of the line that `app.processes.life` is told of."""
    os.environ.clear()
    os.environ.update(task.environment)
    with (task.orders.parent / f"{task.name}.log").open("ab", buffering=0) as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    sys.argv = ["truyvet", *task.arguments, "--supervisor-fd", str(supervisor.detach())]
    with equipped(task):
        cli.main()
