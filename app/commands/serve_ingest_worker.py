"""`truyvet serve ingest-worker`."""

import sys

import click

from app import logs
from app.processes import ingest as process
from app.processes.life import Life
from app.settings import Settings


@click.command("ingest-worker")
@click.option("--supervisor-fd", type=int, hidden=True)
@click.pass_obj
def ingest_worker(settings: Settings, supervisor_fd: int | None) -> None:
    """Run one of the processes that share the ingest port; `truyvet serve ingest` starts them.

    \b
    Example:
      truyvet serve ingest-worker
    """
    logs.configure(settings, "ingest")
    life = Life(supervisor_fd=supervisor_fd, stop_wait_seconds=settings.stop_wait_seconds)
    process.run(settings, life)
    sys.exit(life.exit_code)
