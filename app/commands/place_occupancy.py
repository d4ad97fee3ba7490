"""`truyvet place occupancy`: how many people were at a place, hour by hour."""

import sys
from typing import Final

import click
from rich.table import Table

from app.client import api_client
from app.clock import now_ms, shown
from app.commands.absence import tell_expired
from app.commands.options import AS_OF, TIME
from app.csv_output import write_csv
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.outbreak.attendance import PlaceOccupancy
from tracing.outbreak.occupancy import HOUR_MS, HOUR_SECONDS

CSV_COLUMNS: Final = ("place", "hour_ms", "people", "peak", "person_seconds", "entries", "exits")


@click.command()
@click.argument("place", metavar="ID")
@click.option("--from", "from_ms", type=TIME, default="24h", show_default=True, help="From the hour of this time.")
@click.option("--to", "to_ms", type=TIME, help="To the end of the hour of this time; default now.")
@AS_OF
@click.option("--all", "every_hour", is_flag=True, help="Also the hours in which nobody was there.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="One line an hour, as CSV.")
@click.pass_obj
def occupancy(
    settings: Settings,
    *,
    place: str,
    from_ms: int,
    to_ms: int | None,
    as_of: int | None,
    every_hour: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Count the people at a place and inside it, hour by hour: how many, at once at most, who came and who left.

    Each person counts once, wherever inside they were. `-` are fewer people than somebody may be told of who may not
    look at people; their other figures are rounded.

    \b
    Example:
      truyvet place occupancy market --from 3d
    """
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    end = now_ms() if to_ms is None else to_ms
    start, end = from_ms // HOUR_MS * HOUR_MS, -(-end // HOUR_MS) * HOUR_MS
    found = api_client(settings).occupancy(place, start, end, as_of)
    if as_json:
        click.echo(codec.to_json(found))
    elif as_csv:
        write_csv(
            sys.stdout,
            CSV_COLUMNS,
            (
                (place, hour.from_, hour.people, hour.peak, hour.person_seconds, hour.entries, hour.exits)
                for hour in found.hours
            ),
        )
    else:
        _show(found, every_hour=every_hour)


def _show(found: PlaceOccupancy, *, every_hour: bool) -> None:
    table = Table("hour", "people", "at once", "on average", "came", "left")
    for hour in found.hours:
        if hour.people == 0 and not every_hour:
            continue
        average = f"{hour.person_seconds / HOUR_SECONDS:,.1f}" if hour.person_seconds is not None else "-"
        counts = (_counted(number) for number in (hour.entries, hour.exits))
        add_row(table, shown(hour.from_), _counted(hour.people), _counted(hour.peak), average, *counts)
    show(table)
    full = f", {found.crowding:.0%} of {found.capacity:,}" if found.crowding is not None else ""
    when = f" at {shown(found.peak_at)}" if found.peak_at is not None else ""
    click.echo(
        f"{_counted(found.people)} people in {counted(found.places, 'place', 'places')};"
        f" at most {_counted(found.peak)} at once{when}{full}. As of {shown(found.cut_off.as_of)}."
    )
    tell_expired(found.cut_off)
    if found.people_min > 1:
        click.echo(f"Hours with fewer than {found.people_min} people are left out, figures rounded to it.", err=True)


def _counted(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
