"""`truyvet reveal`: the names of people in a saved trace."""

import sys
from collections.abc import Sequence
from typing import Final

import click
from rich.table import Table

from app import identify
from app.client import api_client
from app.clock import shown
from app.commands.options import PURPOSE
from app.csv_output import write_csv
from app.settings import Settings
from app.terminal import add_row, counted, show
from tracing.directory.reveals import RequestState
from tracing.routes.reveals import Decision, RevealAsked, Revealed, RevealTicket

CSV_COLUMNS: Final = ("subject", "name", "phone", "address", "birth_year", "citizen_number")
STATES: Final = click.Choice([state.value for state in RequestState])
AS_CSV: Final = click.option("--csv", "as_csv", is_flag=True, help="CSV on standard output.")


@click.group()
def reveal() -> None:
    """See the names of people in a saved trace; every opening is recorded, and so many a day are allowed.

    Where the service asks for four eyes, `ask` prints a request's id, a colleague approves it, and `open` shows the
    names.

    \b
    Example:
      truyvet reveal ask TRACE 5f0c2a9be1d34c7788aa01b2c3d4e5f6 --purpose "calling the contacts of case f0-17"
    """


@reveal.command()
@click.argument("trace")
@click.argument("pseudonyms", nargs=-1)
@AS_CSV
@PURPOSE
@click.pass_obj
def ask(settings: Settings, *, trace: str, pseudonyms: Sequence[str], as_csv: bool, purpose: str) -> None:
    """See the names of PSEUDONYMS, people in the saved TRACE; `-` reads them from standard input, one a line.

    \b
    Example:
      cut -d, -f1 f1.csv | tail -n +2 | truyvet reveal ask TRACE - --csv --purpose "calling …" > names.csv
    """
    given = [line.strip() for line in sys.stdin if line.strip()] if tuple(pseudonyms) == ("-",) else pseudonyms
    if not given:
        raise click.UsageError("Name at least one person by pseudonym, or give - and a list on standard input.")
    asked = RevealAsked(subjects=tuple(identify.known(one).subject for one in given), purpose=purpose)
    found = api_client(settings).reveal(trace, asked)
    ticket = found.request
    if ticket is None:
        _tell(found, as_csv=as_csv)
        return
    click.echo(ticket.id)
    click.echo(
        f"A colleague must approve it before {shown(ticket.expires)}: truyvet reveal approve {ticket.id}."
        f" Then: truyvet reveal open {ticket.id}",
        err=True,
    )


@reveal.command("list")
@click.option("--state", type=STATES, help="Only those in this state.")
@click.pass_obj
def list_(settings: Settings, *, state: str | None) -> None:
    """List the requests to see names, newest first, without whose.

    \b
    Example:
      truyvet reveal list --state pending
    """
    table = Table("id", "trace", "people", "who asks", "asked", "until", "state", "decided by", "purpose")
    for one in api_client(settings).reveals(RequestState(state) if state is not None else None):
        cells = (one.id, one.trace, f"{one.people}", one.actor, shown(one.asked_at), shown(one.expires))
        add_row(table, *cells, one.state.value, one.decided_by, one.purpose)
    show(table)


@reveal.command()
@click.argument("request")
@click.option("--reason", default="", help="Why; kept with the request and in the audit log.")
@click.pass_obj
def approve(settings: Settings, *, request: str, reason: str) -> None:
    """Approve somebody else's REQUEST; nobody decides their own.

    \b
    Example:
      truyvet reveal approve 6b1f0a9c2d3e4f50 --reason "confirmed with the district"
    """
    _tell_decision(api_client(settings).decide_reveal(request, "approve", Decision(reason=reason)))


@reveal.command()
@click.argument("request")
@click.option("--reason", required=True, help="Why not; kept with the request and in the audit log.")
@click.pass_obj
def refuse(settings: Settings, *, request: str, reason: str) -> None:
    """Refuse somebody else's REQUEST.

    \b
    Example:
      truyvet reveal refuse 6b1f0a9c2d3e4f50 --reason "they were released"
    """
    _tell_decision(api_client(settings).decide_reveal(request, "refuse", Decision(reason=reason)))


@reveal.command("open")
@click.argument("request")
@AS_CSV
@click.pass_obj
def open_(settings: Settings, *, request: str, as_csv: bool) -> None:
    """See the names of your own REQUEST, once it is approved.

    \b
    Example:
      truyvet reveal open 6b1f0a9c2d3e4f50
    """
    _tell(api_client(settings).open_reveal(request), as_csv=as_csv)


def _tell(found: Revealed, *, as_csv: bool) -> None:
    rows: list[tuple[object, ...]] = []
    for one in found.people:
        person = one.person
        rows.append(
            (one.subject, person.name, person.phone, person.address, person.birth_year, person.citizen_number)
            if person is not None
            else (one.subject, *[None] * (len(CSV_COLUMNS) - 1))
        )
    if as_csv:
        write_csv(sys.stdout, CSV_COLUMNS, rows)
    else:
        table = Table("pseudonym", "name", "phone", "address", "born", "citizen number")
        for row in rows:
            add_row(table, *(str(cell) if cell is not None else "" for cell in row))
        show(table)
    known = sum(one.person is not None for one in found.people)
    click.echo(f"{known} of {counted(len(rows), 'person', 'people')} are in the directory.", err=True)


def _tell_decision(ticket: RevealTicket) -> None:
    click.echo(f"{ticket.id}: {ticket.state}.")
    if ticket.state is RequestState.APPROVED:
        click.echo(f"{ticket.actor} can open it before {shown(ticket.expires)}.", err=True)
