"""`truyvet stays`."""

import click
from rich.table import Table

from app import identify
from app.client import api_client
from app.clock import now_ms, shown, shown_seconds
from app.commands.options import AS_OF, PURPOSE, TIME
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec


@click.command()
@click.argument("pseudonym", required=False)
@click.option("--from", "from_ms", type=TIME, default="14d", show_default=True, help="Window from.")
@click.option("--to", "to_ms", type=TIME, help="Window up to; default now.")
@AS_OF
@click.option("--json", "as_json", is_flag=True, help="With the scans that prove each stay, as JSON.")
@PURPOSE
@click.pass_obj
def stays(
    settings: Settings,
    *,
    pseudonym: str | None,
    from_ms: int,
    to_ms: int | None,
    as_of: int | None,
    purpose: str,
    as_json: bool,
) -> None:
    """List where a person stayed, from when to when, and how each end is known.

    measured: scanned. imputed: the entry was missed. moved: scanned elsewhere. dwell: never scanned out, so taken
    to have stayed as long as people do there. open: still there. The pseudonym is asked for when it is not given.

    \b
    Example:
      truyvet stays --from 3d --purpose "where case 17 was"
    """
    subject = identify.known(pseudonym).subject
    found = api_client(settings).stays(subject, from_ms, now_ms() if to_ms is None else to_ms, as_of, purpose)
    if as_json:
        click.echo(codec.to_json(found))
        return
    table = Table("place", "from", "to", "for", "entry", "exit")
    for stay in found:
        duration = shown_seconds((stay.end - stay.start) / 1000)
        add_row(table, stay.place, shown(stay.start), shown(stay.end), duration, stay.entry.value, stay.exit.value)
    show(table)
    click.echo(f"{counted(len(found), 'stay', 'stays')}.", err=True)
