"""`truyvet trace diff`."""

from typing import Final

import click
from rich.table import Table

from app.client import api_client
from app.clock import shown, shown_seconds
from app.commands.options import PURPOSE
from app.commands.trace_question import Asked, change_options
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.difference import ContactDifference, Difference, Standing
from tracing.question import Change
from tracing.routes.comparisons import ComparedSide, CompareRequest
from tracing.rule import Rule

SCANS_SHOWN_MAX: Final = 6
"""So many scans of a contact are printed; --json has them all."""


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", required=False)
@change_options
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@PURPOSE
@click.pass_obj
def diff(settings: Settings, *, before: str, after: str | None, asked: Asked, as_json: bool, purpose: str) -> None:
    """Say who was added, removed and changed from the saved trace A to B, and by which scans.

    Without B the question of A is asked again, as of now or --as-of, and otherwise where an option says so: about the
    same people in the same windows. Both answers are saved.

    \b
    Example:
      truyvet trace diff 8b6f1c0a5d2e4f73a1b09c8d7e6f5a4b --purpose "late uploads of case 17"
      truyvet trace diff A B --purpose "yesterday's list and today's"
      truyvet trace diff A --lag 1800 --as-of 2021-10-21T12:00 --purpose "what a lag would add"
    """
    if after is not None and asked != Asked():
        raise click.UsageError("Give B, or options that say what to ask otherwise, not both.")
    change = Change(
        preset=asked.preset,
        lag_seconds=asked.lag_seconds,
        min_seconds=asked.least,
        rule=Rule(asked.rule) if asked.rule is not None else None,
        as_of=asked.as_of,
        depth=asked.depth,
        latency_seconds=asked.latency_seconds,
        dwell_seconds=dict(asked.dwell) or None,
    )
    found = api_client(settings).compare(
        CompareRequest(
            before=ComparedSide(trace=before),
            after=ComparedSide(trace=after) if after is not None else None,
            change=change if after is None else None,
            purpose=purpose,
        )
    )
    if as_json:
        click.echo(codec.to_json(found))
    else:
        _show(found)


def _show(found: Difference) -> None:
    table = Table("", "subject", "before", "after", "because", "scans")
    table.columns[1].no_wrap = True
    for mark, contacts in (("+", found.added), ("-", found.removed), ("~", found.changed)):
        for one in contacts:
            add_row(table, mark, one.subject, _standing(one.before), _standing(one.after), _because(one), _scans(one))
    show(table)
    sides = (found.before, found.after)
    for name, side in zip(("A", "B"), sides, strict=True):
        click.echo(
            f"{name}: trace {side.trace}, {counted(side.contacts, 'contact', 'contacts')}, as of"
            f" {shown(side.cut_off.as_of)}."
        )
    click.echo(
        f"{len(found.added):,} added, {len(found.removed):,} removed, {len(found.changed):,} changed,"
        f" {found.unchanged:,} unchanged. Differs in: {', '.join(found.parameters) or 'nothing'}."
    )
    click.echo(f"Fingerprint {found.fingerprint}.")


def _standing(standing: Standing | None) -> str:
    if standing is None:
        return ""
    return f"F{standing.depth}, {shown_seconds(standing.seconds)}, {shown(standing.first)} to {shown(standing.last)}"


def _because(one: ContactDifference) -> str:
    return ", ".join([*one.causes, *(f"changes {name}" for name in one.changed)])


def _scans(one: ContactDifference) -> str:
    """The first scans that differ: by whom attested, and when the log took them in."""
    named = [f"{scan.device}/{scan.seq} of {shown(scan.at)}, in at {shown(scan.received)}" for scan in one.scans]
    more = len(named) - SCANS_SHOWN_MAX
    return "\n".join([*named[:SCANS_SHOWN_MAX], *([f"and {more} more"] if more > 0 else [])])
