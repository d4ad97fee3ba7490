"""`truyvet people`: who is F0, recovered, F1, F2 or released."""

import sys
from typing import Final

import click
from rich.table import Table

from app import identify
from app.client import api_client
from app.clock import shown
from app.commands import directory
from app.commands.options import PURPOSE, TIME
from app.csv_output import write_csv
from app.settings import Settings
from app.terminal import add_row, counted, show
from events.people import Source, SourceKind, State
from tracing.people.quarantine import Listed
from tracing.routes.people import DAYS_MAX, DeclareRequest, OfTraceRequest, StatusRequest

CSV_COLUMNS: Final = ("subject", "state", "since_ms", "until_ms", "overdue", "source_kind", "source")
STATES: Final = click.Choice([state.value for state in State])


@click.group()
def people() -> None:
    """Keep what people are: F0, recovered, F1, F2, released; list who is in quarantine.

    \b
    Example:
      truyvet people contacts TRACE --days 14 --purpose "F1 and F2 of case f0-17"
      truyvet people quarantine --csv --purpose "list for the commune's team" > quarantine.csv
    """


@people.command()
@click.argument("state", type=STATES)
@click.argument("pseudonym", required=False)
@click.option("--at", type=TIME, default="now", show_default=True, help="Since when it holds.")
@click.option("--until", type=TIME, help="When the quarantine is due to end.")
@click.option("--order", required=True, metavar="NUMBER", help="The order or document that says so, by its number.")
@PURPOSE
@click.pass_obj
def declare(
    settings: Settings, *, state: str, pseudonym: str | None, at: int, until: int | None, order: str, purpose: str
) -> None:
    """Declare somebody to be in STATE. The pseudonym is asked for where it is not given.

    \b
    Example:
      truyvet people declare released --order QD-2021-311 --purpose "the quarantine has ended"
    """
    subject = identify.known(pseudonym).subject
    asked = DeclareRequest(
        subjects=(subject,),
        state=State(state),
        at=at,
        until=until,
        source=Source(kind=SourceKind.ORDER, id=order),
        purpose=purpose,
    )
    api_client(settings).declare_states(asked)
    click.echo(f"{state} since {shown(at)} is recorded.")


@people.command()
@click.argument("trace")
@click.option("--days", type=click.IntRange(1, DAYS_MAX), help="Quarantine: days from each one's last exposure.")
@PURPOSE
@click.pass_obj
def contacts(settings: Settings, *, trace: str, days: int | None, purpose: str) -> None:
    """Declare the contacts of the saved trace TRACE to be F1 and F2. Doing so again changes nothing.

    \b
    Example:
      truyvet people contacts 3f0c… --days 14 --purpose "F1 and F2 of case f0-17"
    """
    done = api_client(settings).declare_contacts(trace, OfTraceRequest(days=days, purpose=purpose))
    for state, count in sorted(done.declared.items()):
        click.echo(f"{counted(count, 'person is', 'people are')} declared {state}.")
    if done.left_out:
        click.echo(f"{done.left_out} deeper contacts are left out.", err=True)


@people.command()
@click.option("--state", type=STATES, help="Only this state; default all who are apart: f0, f1, f2.")
@click.option("--at", type=TIME, help="As of then; default now.")
@click.option("--due-before", type=TIME, help="Only those whose quarantine is due to end before then.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV that is safe in a spreadsheet.")
@PURPOSE
@click.pass_obj
def quarantine(
    settings: Settings, *, state: str | None, at: int | None, due_before: int | None, as_csv: bool, purpose: str
) -> None:
    """List who is apart from others, since when, until when and why.

    \b
    Example:
      truyvet people quarantine --due-before 2021-11-01 --purpose "who can go home this week"
    """
    given = {"state": state, "at": at, "due_before": due_before}
    query = {name: str(value) for name, value in given.items() if value is not None}
    found = api_client(settings).quarantine(query, purpose)
    if as_csv:
        write_csv(sys.stdout, CSV_COLUMNS, map(_csv_row, found))
        return
    table, count = Table("subject", "state", "since", "until", "source"), 0
    table.columns[0].no_wrap = True
    for one in found:
        count += 1
        standing = one.standing
        until = (shown(standing.until) if standing.until is not None else "") + (" (overdue)" if one.overdue else "")
        source = f"{standing.source.kind} {standing.source.id}"
        add_row(table, one.subject, standing.state.value, shown(standing.since), until, source)
    show(table)
    click.echo(f"{counted(count, 'person', 'people')}.")


@people.command()
@click.argument("pseudonym", required=False)
@PURPOSE
@click.pass_obj
def status(settings: Settings, *, pseudonym: str | None, purpose: str) -> None:
    """Show what somebody is, with their vaccinations and tests.

    \b
    Example:
      truyvet people status --purpose "the person called and asks"
    """
    subject = identify.known(pseudonym).subject
    (one,) = api_client(settings).status(StatusRequest(subjects=(subject,), purpose=purpose)).items
    if one.standing is None:
        click.echo("Nothing was declared of them.")
    else:
        until = f", until {shown(one.standing.until)}" if one.standing.until is not None else ""
        click.echo(f"{one.standing.state} since {shown(one.standing.since)}{until}.")
    table = Table("day", "what", "product", "dose or result", "source")
    for record in one.records:
        finding = str(record.dose) if record.dose is not None else (record.result or "")
        add_row(table, record.day, record.kind.value, record.product, finding, f"{record.source} {record.record}")
    show(table)


@people.command()
@click.pass_obj
def counts(settings: Settings) -> None:
    """Print how many people are in each state.

    \b
    Example:
      truyvet people counts
    """
    found = api_client(settings).state_counts()
    for state in State:
        click.echo(f"{state.value:<10}{found.counts[state]:>9,}")


def _csv_row(one: Listed) -> tuple[object, ...]:
    standing = one.standing
    return (
        *(one.subject, standing.state.value, standing.since, standing.until, "yes" if one.overdue else "no"),
        *(standing.source.kind.value, standing.source.id),
    )


for command in directory.COMMANDS:
    people.add_command(command)
