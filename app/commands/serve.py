"""`truyvet serve`: the HTTP processes. A worker must not import what its neighbour needs, so each is a file."""

from typing import Final

import click

from app.lazy_group import LazyGroup, Table

PROCESSES: Final[Table] = {
    "ingest": ("Processes", "app.commands.serve_ingest:ingest", "Take signed scans in."),
    "ingest-worker": ("Processes", "app.commands.serve_ingest_worker:ingest_worker", ""),
    "trace": ("Processes", "app.commands.serve_trace:trace", "Answer traces, with a ClickHouse server behind."),
    "store": ("Processes", "app.commands.serve_store:store", "Own the embedded store: sink, projector, traces."),
}


@click.group(cls=LazyGroup, table=PROCESSES)
def serve() -> None:
    """Run one HTTP process of a deployment. On a single machine `truyvet up` runs them all.

    \b
    Example:
      TRUYVET_REDIS_URL=redis://redis:6379/0 truyvet serve ingest
    """
