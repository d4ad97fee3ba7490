"""`truyvet trace`: who was with a case; and what the answers have in common, and what else could be asked."""

import sys
from collections.abc import Iterator, Mapping
from typing import Final

import click
from rich.table import Table

from app.client import api_client
from app.clock import shown, shown_seconds
from app.commands import trace_chain
from app.commands.options import PURPOSE_HELP, asked_purpose
from app.commands.trace_diff import diff
from app.commands.trace_jobs import followed, jobs
from app.commands.trace_people import COLUMNS, cells, known_of
from app.commands.trace_presets import presets
from app.commands.trace_question import Asked, check_somebody, question_options
from app.commands.trace_sweep import sweep
from app.csv_output import write_csv
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.answer import Answer
from tracing.doubt_reading import LeftOut
from tracing.question import Question
from tracing.routes.jobs import Job
from tracing.routes.people import Status
from tracing.routes.traces import ASYNC, TraceRequest
from tracing.rule import Rule

QUESTION_FIELDS: Final = Question.__struct_fields__
CSV_COLUMNS: Final = (
    *("trace", "fingerprint", "as_of_ms", "rule", "min_seconds", "lag_seconds"),
    *("subject", "depth", "seconds", "first_ms", "last_ms"),
    *("index", "place", "start_ms", "end_ms", "direct_ms", "lagged_ms"),
    *("index_entry", "index_exit", "entry", "exit", "index_scans", "scans"),
)


@click.group(invoke_without_command=True)
@question_options
@click.option("--job", "as_job", is_flag=True, help="Ask as a job and follow it; Ctrl-C cancels it.")
@click.option("--json", "as_json", is_flag=True, help="The whole answer with all its evidence, as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="One line an encounter, as CSV that is safe in a spreadsheet.")
@click.option("--purpose", help=PURPOSE_HELP)
@click.pass_context
def trace(
    context: click.Context, *, asked: Asked, purpose: str | None, as_job: bool, as_json: bool, as_csv: bool
) -> None:
    """Find who was with a case: the contacts (F1), with --depth 2 theirs (F2), longest first.

    The answer names every parameter that decided it and is the same whenever it is asked with the same --as-of. It is
    saved; the commands below compare it, and ask otherwise. Beside each contact stand their state, doses and last test,
    where they are known; that look at them is recorded as one of its own.

    \b
    Example:
      truyvet trace --case f0-17 --depth 2 --purpose "contacts of case 17" --csv > f1.csv
      truyvet trace diff TRACE --purpose "late uploads of case 17"
      truyvet trace sweep --case f0-17 --purpose "how firm is the list"
    """
    if context.invoked_subcommand is not None:
        if asked != Asked():
            raise click.UsageError(f"Options belong behind {context.invoked_subcommand}.")
        return
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    if as_csv and asked.no_evidence:
        raise click.UsageError("--csv writes a line an encounter: leave --no-evidence out, or give --json.")
    check_somebody(asked)
    settings: Settings = context.obj
    why = asked_purpose(context, purpose)
    client = api_client(settings)
    request = TraceRequest(**{field: getattr(asked.question(), field) for field in QUESTION_FIELDS}, purpose=why)
    answer = client.trace_or_job(request, prefer=ASYNC if as_job else "")
    if isinstance(answer, Job):
        answer = followed(client, answer, why)
    if as_json:
        click.echo(codec.to_json(answer))
    elif as_csv:
        write_csv(sys.stdout, CSV_COLUMNS, csv_rows(answer))
    else:
        _show(answer, known_of(client, [contact.subject for contact in answer.contacts], why))


for _command in (diff, sweep, presets, jobs):
    trace.add_command(_command)


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


def contact_table(answer: Answer, beside: Mapping[str, Status]) -> Table:
    """Through whom contacts were reached stands there where it is not the case alone; the columns about people, where
    something is known of anybody.
    """
    chained, cases = trace_chain.has_chain(answer), trace_chain.cases_of(answer)
    table = Table("", "subject", "together", "first", "last", "places")
    table.columns[1].no_wrap = True
    for column in (*((trace_chain.COLUMN,) if chained else ()), *(COLUMNS if beside else ())):
        table.add_column(column)
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
            *((trace_chain.through(contact, cases),) if chained else ()),
            *(cells(beside.get(contact.subject)) if beside else ()),
        )
    return table


def _show(answer: Answer, beside: Mapping[str, Status]) -> None:
    asked = answer.question
    show(contact_table(answer, beside))
    rule = "together" if asked.rule is Rule.TOTAL else "in a single encounter"
    click.echo(
        f"{counted(len(answer.contacts), 'contact', 'contacts')} of at least {shown_seconds(asked.min_ms / 1000)}"
        f" {rule}, lag {shown_seconds(asked.lag_ms / 1000)}, depth {asked.depth}, as of {shown(answer.cut_off.as_of)}."
    )
    absent = [each for each in answer.index if not each.stays]
    if absent:
        nearest = [at for each in absent for at in (each.before, each.after) if at is not None]
        known = f"; their nearest scans: {', '.join(map(shown, sorted(nearest)))}" if nearest else ""
        click.echo(f"{len(absent)} of those asked about were scanned nowhere in the window{known}.", err=True)
    if isinstance(answer.left_out, LeftOut):
        reasons = ", ".join(f"{reason.value} {count:,}" for reason, count in answer.left_out.by_reason.items())
        click.echo(f"Left out as doubtful: {counted(answer.left_out.scans, 'scan', 'scans')} ({reasons or 'none'}).")
    if answer.cut_off.kept_from is not None:
        click.echo(f"Scans from before {shown(answer.cut_off.kept_from)} are kept no longer: not in this answer.")
    if beside:
        click.echo("State, doses and last test are as known now, whatever the trace is as of.")
    if asked.preset is not None:
        click.echo(f"By the preset {asked.preset}, where not given.")
    click.echo(f"Trace {answer.id}, fingerprint {answer.fingerprint}.")
