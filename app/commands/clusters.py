"""`truyvet clusters`: where several cases gathered, as it stands and as it arises."""

import time
from typing import Final

import click
from rich.table import Table

from app.client import ApiClient, ApiDown, api_client
from app.clock import shown
from app.commands.options import PURPOSE
from app.settings import Settings
from app.terminal import add_row, counted, plain, show
from events import codec
from events.clusters import Announced, Change
from events.problems import ProblemError

RETRY_SECONDS: Final = 3.0
CASES_SHOWN_MAX: Final = 8
UNAVAILABLE: Final = 503


@click.command()
@click.option("--place", metavar="ID", help="Only those at this place or inside it.")
@click.option("--follow", is_flag=True, help="Then print what is announced as it comes, until Ctrl-C.")
@click.option("--after", type=click.IntRange(0), help="With --follow: begin behind this number, without the list.")
@click.option("--json", "as_json", is_flag=True, help="An announcement a line, as JSON.")
@PURPOSE
@click.pass_obj
def clusters(
    settings: Settings, *, place: str | None, follow: bool, after: int | None, purpose: str, as_json: bool
) -> None:
    """List the places and vehicles where several cases were within some days, and follow them as they arise.

    They are found by themselves, whenever a case is confirmed or late scans of a case come in. Every announcement has a
    number of its own; numbers have no gap, so nothing is missed: go on with --after NUMBER.

    \b
    Example:
      truyvet clusters --follow --purpose "duty of the outbreak desk"
    """
    if after is not None and not follow:
        raise click.UsageError("--after goes with --follow.")
    if place is not None and follow:
        raise click.UsageError("--place goes without --follow: the feed tells of all places.")
    client = api_client(settings)
    if after is None:
        page = client.clusters(place, purpose)
        after = page.number
        if as_json:
            for one in page.items:
                click.echo(codec.to_json(one))
        else:
            _show(page.items)
    if follow:
        _follow(client, after, purpose, as_json=as_json)


def _show(items: list[Announced]) -> None:
    table = Table("number", "place", "from", "to", "cases", "known since", "latest", "which")
    for item in items:
        one = item.announcement
        which = ", ".join(one.cases[:CASES_SHOWN_MAX])
        more = f" and {len(one.cases) - CASES_SHOWN_MAX} more" if len(one.cases) > CASES_SHOWN_MAX else ""
        times = (shown(one.first), shown(one.at))
        add_row(
            table,
            f"{item.number}",
            one.place,
            shown(one.from_),
            shown(one.to),
            f"{len(one.cases)}",
            *times,
            which + more,
        )
    show(table)
    click.echo(f"{counted(len(items), 'cluster', 'clusters')}.", err=True)


def _follow(client: ApiClient, after: int, purpose: str, *, as_json: bool) -> None:
    """Until it is interrupted; comes back by itself where the connection ends."""
    while True:
        try:
            for item in client.follow_clusters(after, purpose):
                click.echo(codec.to_json(item) if as_json else _line(item))
                after = item.number
        except ApiDown as error:
            click.echo(f"{error} Trying again.", err=True)
        except ProblemError as error:
            if error.problem.status != UNAVAILABLE:
                raise
            click.echo(f"{error.problem.title}. Trying again.", err=True)
        time.sleep(RETRY_SECONDS)


def _line(item: Announced) -> str:
    one = item.announcement
    added = f": {', '.join(one.added)}" if one.added and one.change is not Change.NEW else ""
    into = f" into {one.into}" if one.into is not None else ""
    return plain(
        f"{item.number}  {shown(one.at)}  {one.change.value}{into}  {one.place}  {len(one.cases)} cases"
        f" {shown(one.from_)} to {shown(one.to)}{added}"
    )
