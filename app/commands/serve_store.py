"""`truyvet serve store`."""

import sys

import click

from app import logs
from app.processes import store as process
from app.processes.life import Life
from app.settings import Settings


@click.command("store")
@click.option("--supervisor-fd", type=int, hidden=True)
@click.pass_obj
def store(settings: Settings, supervisor_fd: int | None) -> None:
    """Run sink, projector and traces in one process, the only one that opens the embedded store (chDB).

    \b
    Example:
      truyvet serve store
    """
    logs.configure(settings, "store")
    life = Life(supervisor_fd=supervisor_fd, stop_wait_seconds=settings.stop_wait_seconds)
    process.run(settings, life)
    sys.exit(life.exit_code)
