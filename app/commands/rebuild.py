"""`truyvet rebuild`."""

import secrets
import sys
import time
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.settings import Settings
from app.stream_client import stream_client
from storage.rebuilds import Rebuilds, RebuildStatus

POLL_SECONDS: Final = 0.2
SILENCE_SECONDS_MAX: Final = 60.0


@click.command()
@click.pass_obj
def rebuild(settings: Settings) -> None:
    """Derive the read models anew from the log, compare both by digest, and put the new ones in their place.

    The service answers all the while. Exits with 1 where the digests differ: then the old read models were wrong,
    and the new ones, which are in place now, are what the log says.

    \b
    Example:
      truyvet rebuild
    """
    client = stream_client(settings)
    status = _followed(Rebuilds(client))
    client.close()
    for model in status.models:
        click.echo(f"{model.table}: {'equal' if model.equal else 'DIFFERENT'}")
        click.echo(f"  before  {model.rows_live:>12,} rows  {model.digest_live}")
        click.echo(f"  rebuilt {model.rows_rebuilt:>12,} rows  {model.digest_rebuilt}")
    sys.exit(0 if all(model.equal for model in status.models) else 1)


def _followed(rebuilds: Rebuilds) -> RebuildStatus:
    """Ask for a rebuild and return its last status."""
    name = secrets.token_hex(8)
    rebuilds.request(name)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    heard = time.monotonic()
    last: RebuildStatus | None = None
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("scans", total=None)
        while True:
            status = rebuilds.status()
            if status is not None and status.id == name and status != last:
                heard, last = time.monotonic(), status
                progress.update(task, completed=status.rows_done, total=status.rows_total)
                if status.state == "done":
                    return status
            if time.monotonic() - heard > SILENCE_SECONDS_MAX:
                raise click.ClickException(
                    "The projecting process does not answer. Start it (`truyvet up` or `truyvet project`): it goes on"
                    " with this rebuild by itself."
                )
            time.sleep(POLL_SECONDS)
