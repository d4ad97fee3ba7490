"""`truyvet project`."""

import sys

import click

from app import logs
from app.processes import behind
from app.processes.life import Life
from app.settings import Settings


@click.command()
@click.option("--supervisor-fd", type=int, hidden=True)
@click.pass_obj
def project(settings: Settings, supervisor_fd: int | None) -> None:
    """Keep the read models that traces ask, and rebuild them when asked to. Run one.

    \b
    Example:
      TRUYVET_CLICKHOUSE_URL=http://truyvet:…@clickhouse:8123/ truyvet project
    """
    if settings.embedded_store:
        raise click.ClickException(
            "The embedded store has one owner, which does this too: run `truyvet serve store`, or set"
            " TRUYVET_CLICKHOUSE_URL to a server."
        )
    logs.configure(settings, "project")
    life = Life(supervisor_fd=supervisor_fd, stop_wait_seconds=settings.stop_wait_seconds)
    behind.run_project(settings, life)
    sys.exit(life.exit_code)
