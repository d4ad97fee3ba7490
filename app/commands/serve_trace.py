"""`truyvet serve trace`."""

import sys

import click

from app import logs
from app.processes import trace as process
from app.processes.life import Life
from app.settings import Settings


@click.command("trace")
@click.option("--supervisor-fd", type=int, hidden=True)
@click.pass_obj
def trace(settings: Settings, supervisor_fd: int | None) -> None:
    """Answer traces and keep the registries over HTTP, with a ClickHouse server behind.

    \b
    Example:
      TRUYVET_CLICKHOUSE_URL=http://truyvet@clickhouse:8123/ truyvet serve trace
    """
    if settings.embedded_store:
        raise click.ClickException(
            "The embedded store has one owner, which does this too: run `truyvet serve store`, or set"
            " TRUYVET_CLICKHOUSE_URL to a server."
        )
    logs.configure(settings, "trace")
    life = Life(supervisor_fd=supervisor_fd, stop_wait_seconds=settings.stop_wait_seconds)
    process.run(settings, life)
    sys.exit(life.exit_code)
