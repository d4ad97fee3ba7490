"""`truyvet retention`: what is kept since when, and letting go what is over."""

import sys
import time
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from app.client import ApiClient, api_client
from app.clock import shown
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from storage.retention_runs import RetentionStatus
from tracing.retention.plan import Going

POLL_SECONDS: Final = 0.5
SILENCE_SECONDS_MAX: Final = 30.0
MEGABYTE: Final = 1_000_000

json_option = click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")


@click.group()
def retention() -> None:
    """See what is kept since when, and let go what is over. It also goes by itself, once a day.

    \b
    Example:
      truyvet retention show
    """


@retention.command("show")
@json_option
@click.pass_obj
def show_retention(settings: Settings, *, as_json: bool) -> None:
    """Show what is kept, and what goes when: partitions of each table with their rows and bytes.

    \b
    Example:
      truyvet retention show
    """
    view = api_client(settings).retention()
    if as_json:
        click.echo(codec.to_json(view))
        return
    _list(view.partitions)
    totals = Table("table", "partitions", "rows", "MB")
    for one in view.tables:
        add_row(totals, one.table, f"{one.partitions:,}", f"{one.rows:,}", _megabytes(one.bytes))
    show(totals)
    days, trace_days = view.terms.scan_days, view.terms.trace_days
    since = f"from {shown(view.kept_from)} on" if view.kept_from else "all"
    click.echo(
        f"Scans are kept {f'for {days} days' if days else 'for good'}; now: {since}. Saved traces are kept"
        f" {f'for {trace_days} days after their cases were closed' if trace_days else 'for good'};"
        f" {counted(view.traces_over, 'is', 'are')} over.",
        err=True,
    )
    if view.latest is not None:
        click.echo(f"Latest run: {_said(view.latest)}", err=True)


@retention.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def run(settings: Settings, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Let go now what is kept no longer. What is gone cannot be had back.

    Waits a minute first, for questions that are being answered.

    \b
    Example:
      truyvet retention run --dry-run
      truyvet retention run --yes
    """
    client = api_client(settings)
    preview = client.retention_preview()
    if dry_run and as_json:
        click.echo(codec.to_json(preview))
        return
    if not as_json:
        _list(preview.partitions)
    click.echo(
        f"{counted(len(preview.partitions), 'partition', 'partitions')} with {preview.rows:,} rows"
        f" ({_megabytes(preview.bytes)} MB) and {counted(preview.traces, 'saved trace', 'saved traces')}"
        f" {'would go' if dry_run else 'go'}; scans are kept from {shown(preview.kept_from)} on.",
        err=True,
    )
    if dry_run:
        return
    if not yes:
        click.confirm("Let them go?", abort=True, err=True)
    status = _followed(client)
    if as_json:
        click.echo(codec.to_json(status))
    else:
        click.echo(_said(status))
    sys.exit(0 if status.state == "done" else 1)


def _followed(client: ApiClient) -> RetentionStatus:
    """Ask for a run and return its last status."""
    asked = client.run_retention()
    heard, last = time.monotonic(), asked
    with Console(stderr=True).status("Waiting for the process that keeps the read models") as progress:
        while True:
            latest = client.retention().latest
            if latest is not None and latest.id == asked.id:
                if latest.state != "running":
                    return latest
                if latest != last:
                    heard, last = time.monotonic(), latest
                    progress.update(f"{latest.step}: {counted(latest.partitions, 'partition', 'partitions')} gone")
            if last is asked and time.monotonic() - heard > SILENCE_SECONDS_MAX:
                raise click.ClickException(
                    "The process that keeps the read models does not answer. Start it (`truyvet up` or `truyvet"
                    " project`): it goes on with this run by itself."
                )
            time.sleep(POLL_SECONDS)


def _list(partitions: list[Going]) -> None:
    table = Table("goes after", "table", "of", "rows", "MB")
    for one in partitions:
        goes_at = "never" if one.goes_at is None else shown(one.goes_at)
        add_row(table, goes_at, one.table, one.partition, f"{one.rows:,}", _megabytes(one.bytes))
    show(table)


def _said(status: RetentionStatus) -> str:
    gone = (
        f"{counted(status.partitions, 'partition', 'partitions')} with {status.rows:,} rows ({_megabytes(status.bytes)}"
        f" MB) and {counted(status.traces, 'saved trace', 'saved traces')} gone"
    )
    held = f"; days {', '.join(status.held)} stay, for they hold scans that claim to be later" if status.held else ""
    match status.state:
        case "done":
            return f"{gone}{held}. Scans are kept from {shown(status.kept_from)} on."
        case "running":
            return f"since {shown(status.began)} at step {status.step}: {gone}."
        case "failed":
            return f"failed at step {status.step}: {status.detail}. {gone}; the next run goes on from there."


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:,.1f}"
