"""`truyvet trace sweep`."""

import sys
from typing import Any, Final

import click
from rich.table import Table

from app.client import api_client
from app.clock import shown, shown_seconds
from app.commands.options import PURPOSE
from app.commands.trace_question import Asked, check_somebody, grid_options
from app.csv_output import write_csv
from app.settings import Settings
from app.terminal import add_row, show
from events import codec
from tracing.routes.comparisons import SweepRequest
from tracing.sweep import Grid, Share, Sweep

MIN_SECONDS_TRIED: Final = "300,600,900,1800,3600"
LAG_SECONDS_TRIED: Final = "0,900,1800"
CSV_COLUMNS: Final = (
    *("min_seconds", "lag_seconds", "contacts", "exposure_ms"),
    *("assumed_contacts", "assumed_exposure_ms", "imputed_contacts", "imputed_exposure_ms"),
    *("dwell_contacts", "dwell_exposure_ms", "open_contacts", "open_exposure_ms"),
)


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """`300,600,900`."""

    name = "SECONDS,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() for part in parts):
            self.fail("write whole seconds with commas between them, such as 300,600,900.")
        return tuple(int(part) for part in parts)


@click.command()
@grid_options
@click.option("--min", "least", type=Numbers(), default=MIN_SECONDS_TRIED, show_default=True, help="Thresholds to try.")
@click.option("--lag", "lags", type=Numbers(), default=LAG_SECONDS_TRIED, show_default=True, help="Lags to try.")
@click.option("--json", "as_json", is_flag=True, help="Every point with all its figures, as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="One line a point, as CSV.")
@PURPOSE
@click.pass_obj
def sweep(
    settings: Settings,
    *,
    asked: Asked,
    least: tuple[int, ...],
    lags: tuple[int, ...],
    as_json: bool,
    as_csv: bool,
    purpose: str,
) -> None:
    """Count the contacts at every threshold and lag, and how many rest on ends that no scan says.

    Behind each number stands how many of them would be no contacts without the encounters of which an end is assumed:
    an entry that was missed, an exit that only the place's dwell or the moment of asking gives.

    \b
    Example:
      truyvet trace sweep --case f0-17 --min 300,600,900 --lag 0,1800 --purpose "how firm is the list of case 17"
    """
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    check_somebody(asked)
    grid = Grid(min_seconds=least, lag_seconds=lags)
    found = api_client(settings).sweep(SweepRequest(question=asked.question(), grid=grid, purpose=purpose))
    if as_json:
        click.echo(codec.to_json(found))
    elif as_csv:
        write_csv(sys.stdout, CSV_COLUMNS, csv_rows(found))
    else:
        _show(found)


def csv_rows(found: Sweep) -> list[tuple[int, ...]]:
    """One row a point."""
    return [
        (
            *(point.min_seconds, point.lag_seconds, point.contacts, point.exposure_ms),
            *_pair(point.assumed.any),
            *_pair(point.assumed.imputed),
            *_pair(point.assumed.dwell),
            *_pair(point.assumed.open),
        )
        for point in found.points
    ]


def _pair(share: Share) -> tuple[int, int]:
    return share.contacts, share.exposure_ms


def _show(found: Sweep) -> None:
    lags = sorted({point.lag_seconds for point in found.points})
    points = {(point.min_seconds, point.lag_seconds): point for point in found.points}
    table = Table("at least", *(f"lag {shown_seconds(lag)}" for lag in lags))
    for column in table.columns[1:]:
        column.justify = "right"
    for least in sorted({point.min_seconds for point in found.points}):
        row = [points[least, lag] for lag in lags]
        cells = (f"{one.contacts:,} ({one.assumed.any.contacts_share:.0%} assumed)" for one in row)
        add_row(table, shown_seconds(least), *cells)
    show(table)
    click.echo(
        "Contacts, and how many of them would be none without assumed ends: imputed entries, dwells, stays still open."
    )
    asked = found.question
    click.echo(f"Rule {asked.rule}, depth {asked.depth}, as of {shown(found.cut_off.as_of)}.")
    click.echo(f"Fingerprint {found.fingerprint}.")
