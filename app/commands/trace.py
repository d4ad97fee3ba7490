"""`truyvet trace`: who was with a case."""

import math
import sys
from collections.abc import Iterator
from typing import Final

import click
from rich.table import Table

from app.client import api_client
from app.clock import shown, shown_seconds
from app.commands.options import AS_OF, PURPOSE, TIME
from app.csv_output import write_csv
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.answer import Answer
from tracing.question import DEPTH_MAX, MIN_SECONDS_DEFAULT, Index, Rule
from tracing.routes.traces import TraceRequest

CSV_COLUMNS: Final = (
    *("trace", "fingerprint", "as_of_ms", "rule", "min_seconds", "lag_seconds"),
    *("subject", "depth", "seconds", "first_ms", "last_ms"),
    *("index", "place", "start_ms", "end_ms", "direct_ms", "lagged_ms"),
    *("index_entry", "index_exit", "entry", "exit", "index_scans", "scans"),
)


@click.command()
@click.option("--case", "cases", multiple=True, metavar="ID", help="A confirmed case; may be given several times.")
@click.option("--subject", "subjects", multiple=True, metavar="PSEUDONYM", help="Or anybody, with --from and --to.")
@click.option("--from", "from_ms", type=TIME, help="Window from; default the case's infectious one.")
@click.option("--to", "to_ms", type=TIME, help="Window up to.")
@click.option("--lag", "lag_seconds", default=0, help="Seconds that the air stays infectious after the case left.")
@click.option("--min", "min_seconds", default=float(MIN_SECONDS_DEFAULT), show_default=True, help="Seconds together.")
@click.option(
    "--rule",
    type=click.Choice([rule.value for rule in Rule]),
    default=Rule.TOTAL.value,
    show_default=True,
    help="What must last --min: all encounters together, or a single one.",
)
@click.option("--depth", type=click.IntRange(1, DEPTH_MAX), default=1, show_default=True, help="2 finds F2 as well.")
@click.option("--latency", "latency_seconds", default=0, help="Seconds until a contact infects others.")
@AS_OF
@click.option("--json", "as_json", is_flag=True, help="The whole answer with all its evidence, as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="One line an encounter, as CSV that is safe in a spreadsheet.")
@PURPOSE
@click.pass_obj
def trace(
    settings: Settings,
    *,
    cases: tuple[str, ...],
    subjects: tuple[str, ...],
    from_ms: int | None,
    to_ms: int | None,
    lag_seconds: int,
    min_seconds: float,
    rule: str,
    depth: int,
    latency_seconds: int,
    as_of: int | None,
    purpose: str,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Find who was with a case: the contacts (F1), with --depth 2 theirs (F2), longest first.

    The answer names every parameter that decided it and is the same whenever it is asked with the same --as-of.

    \b
    Example:
      truyvet trace --case f0-17 --depth 2 --purpose "contacts of case 17" --csv > f1.csv
    """
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    if not cases and not subjects:
        raise click.UsageError("Whom? Give --case ID or --subject PSEUDONYM.")
    if not math.isfinite(min_seconds):
        raise click.BadParameter("it must be a number of seconds.", param_hint="--min")
    answer = api_client(settings).trace(
        TraceRequest(
            index=Index(cases=cases, subjects=subjects),
            from_=from_ms,
            to=to_ms,
            lag_seconds=lag_seconds,
            min_seconds=int(min_seconds) if min_seconds == int(min_seconds) else min_seconds,
            rule=Rule(rule),
            depth=depth,
            latency_seconds=latency_seconds,
            as_of=as_of,
            purpose=purpose,
        )
    )
    if as_json:
        click.echo(codec.to_json(answer))
    elif as_csv:
        write_csv(sys.stdout, CSV_COLUMNS, csv_rows(answer))
    else:
        _show(answer)


def csv_rows(answer: Answer) -> Iterator[tuple[object, ...]]:
    """One row an encounter, in the answer's order; every row names the question that it answers."""
    asked = answer.question
    question = (answer.id, answer.fingerprint, answer.cut_off.as_of, asked.rule.value)
    parameters = (asked.min_ms / 1000, asked.lag_ms / 1000)
    for contact in answer.contacts:
        person = (contact.subject, contact.depth, contact.ms / 1000, contact.first, contact.last)
        for one in contact.encounters:
            yield (
                *question,
                *parameters,
                *person,
                *(one.index, one.place, one.start, one.end, one.direct_ms, one.lagged_ms),
                *(one.index_stay.entry.value, one.index_stay.exit.value),
                *(one.stay.entry.value, one.stay.exit.value),
                _scans(one.index_stay.scans),
                _scans(one.stay.scans),
            )


def _scans(scans: tuple[tuple[str, int], ...]) -> str:
    return " ".join(f"{device}/{seq}" for device, seq in scans)


def _show(answer: Answer) -> None:
    asked = answer.question
    table = Table("", "subject", "together", "first", "last", "places")
    table.columns[1].no_wrap = True
    for contact in answer.contacts:
        places = sorted({one.place for one in contact.encounters})
        add_row(
            table,
            f"F{contact.depth}",
            contact.subject,
            shown_seconds(contact.seconds),
            shown(contact.first),
            shown(contact.last),
            ", ".join(places),
        )
    show(table)
    rule = "together" if asked.rule is Rule.TOTAL else "in a single encounter"
    click.echo(
        f"{counted(len(answer.contacts), 'contact', 'contacts')} of at least {shown_seconds(asked.min_ms / 1000)}"
        f" {rule}, lag {shown_seconds(asked.lag_ms / 1000)}, depth {asked.depth}, as of {shown(answer.cut_off.as_of)}."
    )
    if answer.index_without_scans:
        click.echo(f"{len(answer.index_without_scans)} of those asked about were scanned nowhere.", err=True)
    click.echo(f"Trace {answer.id}, fingerprint {answer.fingerprint}.")
