"""`truyvet serve ingest`."""

import click

from app import logs
from app.fleet import Fleet
from app.foreground import run_until_told
from app.ports import await_free
from app.settings import Settings
from app.supervisor import PORT_WAIT_SECONDS, clear_metrics, ingest_workers


@click.command()
@click.pass_obj
def ingest(settings: Settings) -> None:
    """Take signed scans in over HTTP, with TRUYVET_INGEST_WORKERS processes on one port.

    A worker that dies is started again. Needs the stream (Redis) and the key file, nothing else.

    \b
    Example:
      TRUYVET_INGEST_HOST=0.0.0.0 TRUYVET_INGEST_WORKERS=4 truyvet serve ingest
    """
    logs.configure(settings, "serve")
    await_free(settings.ingest_host, settings.ingest_port, seconds=PORT_WAIT_SECONDS)
    clear_metrics(settings)
    fleet = Fleet(
        ingest_workers(settings),
        ready_wait_seconds=settings.ready_wait_seconds,
        stop_wait_seconds=settings.stop_wait_seconds,
    )
    run_until_told(fleet.start, fleet.stop)
