"""`truyvet up`."""

import click

from app import logs
from app.foreground import run_until_told
from app.settings import Settings
from app.supervisor import TOKEN_FILE, Embedded


@click.command()
@click.pass_obj
def up(settings: Settings) -> None:
    """Run the whole service on this machine until Ctrl-C: Valkey, the store with traces, and the ingest workers.

    The first run makes the data directory and the server's keys. A process that dies is started again; scans
    that were answered are on disk. Use the other commands in a second terminal.

    \b
    Example:
      truyvet up
      TRUYVET_DATA_DIR=/srv/truyvet TRUYVET_INGEST_WORKERS=2 truyvet up
    """
    logs.configure(settings, "up")
    service = Embedded(settings)

    def start() -> None:
        click.echo(f"Starting Truyvet on {settings.data_dir} …")
        service.start()
        _announce(settings)

    def stop() -> None:
        if service.pids:
            click.echo("Stopping …")
        service.stop()

    run_until_told(start, stop)
    click.echo("Stopped. Nothing is left running.")


def _announce(settings: Settings) -> None:
    click.echo(
        f"""
Truyvet runs. Ctrl-C stops it.

  scans in    {settings.ingest}/v1/scans
  traces out  {settings.api}
  your token  {settings.run_dir / TOKEN_FILE}  (admin; the commands on this machine read it themselves)

Next: truyvet place import places.csv · truyvet device enrol gate-1 --place ID · truyvet --help
"""
    )
