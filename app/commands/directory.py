"""The directory of names, as further commands of `truyvet people`: import, erase, readmit, access-log, columns."""

import sys
from typing import Final, TextIO

import click
import msgspec
from rich.table import Table

from app import identify
from app.client import ApiClient, api_client
from app.clock import shown
from app.commands.health import pieces
from app.commands.line_files import tell_columns, tell_wrong
from app.commands.options import PURPOSE
from app.key_file import load
from app.settings import Settings
from app.terminal import add_row, counted, show
from tracing.directory.line_list import DICTIONARY
from tracing.routes.directory import AccessLogRequest, EraseRequest, NamesImport, NamesImported, ReadmitRequest

CHARACTERS_A_REQUEST: Final = 200_000
"""Of names, up to three bytes each: a request stays below what the service takes."""
CCCD: Final = click.option("--cccd", is_flag=True, help="Ask for the citizen number instead of the pseudonym.")


@click.command()
def columns() -> None:
    """Print the data dictionary of a line list: its columns and what stands in them.

    \b
    Example:
      truyvet people columns
    """
    tell_columns(DICTIONARY)


@click.command("import")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@click.option("--dry-run", is_flag=True, help="Check every line and keep nothing.")
@PURPOSE
@click.pass_obj
def import_(settings: Settings, *, file: TextIO, dry_run: bool, purpose: str) -> None:
    """Enter the line list FILE into the directory of names, sealed. Importing it again changes nothing.

    Good lines are entered, wrong ones are listed, never with what stands in them. The exit code is 1 where a line is
    wrong.

    \b
    Example:
      truyvet people import contacts.csv --dry-run --purpose "line list of the quarantine area"
    """
    total = _sent(api_client(settings), file, dry_run=dry_run, purpose=purpose)
    tell_wrong(total.errors)
    if total.wrong > len(total.errors):
        click.echo(f"… and {total.wrong - len(total.errors):,} more.", err=True)
    would = "would be " if dry_run else ""
    click.echo(
        f"{counted(total.new, 'person', 'people')} {would}entered, {total.changed:,} {would}changed,"
        f" {total.unchanged:,} as they were; {counted(total.wrong, 'wrong line', 'wrong lines')}."
    )
    if total.wrong:
        sys.exit(1)


@click.command()
@click.argument("pseudonym", required=False)
@CCCD
@click.option("--yes", is_flag=True, help="Do not ask again.")
@PURPOSE
@click.pass_obj
def erase(settings: Settings, *, pseudonym: str | None, cccd: bool, yes: bool, purpose: str) -> None:
    """Erase somebody's name for good: their key is destroyed, and no backup brings it back. Recorded.

    \b
    Example:
      truyvet people erase --cccd --purpose "request of the person, file 2021/114"
    """
    subject = _subject(settings, pseudonym, cccd=cccd)
    if not yes:
        click.confirm("This cannot be undone. Erase them?", abort=True, err=True)
    done = api_client(settings).erase_person(EraseRequest(subject=subject, confirm=True, purpose=purpose))
    click.echo("Erased." if done.erased else "There was no name. No import will enter one from now on.")


@click.command()
@click.argument("pseudonym", required=False)
@CCCD
@PURPOSE
@click.pass_obj
def readmit(settings: Settings, *, pseudonym: str | None, cccd: bool, purpose: str) -> None:
    """Let somebody who was erased be entered anew by a later import. What was erased stays so.

    \b
    Example:
      truyvet people readmit --cccd --purpose "a contact again, in another outbreak"
    """
    asked = ReadmitRequest(subject=_subject(settings, pseudonym, cccd=cccd), purpose=purpose)
    done = api_client(settings).readmit_person(asked)
    click.echo("They may be entered again." if done.readmitted else "They had not been erased.")


@click.command("access-log")
@click.argument("pseudonym", required=False)
@CCCD
@PURPOSE
@click.pass_obj
def access_log(settings: Settings, *, pseudonym: str | None, cccd: bool, purpose: str) -> None:
    """List who looked at a person, when and why, for that person. Recorded itself.

    \b
    Example:
      truyvet people access-log --cccd --purpose "request of the person, file 2021/115"
    """
    asked = AccessLogRequest(subject=_subject(settings, pseudonym, cccd=cccd), purpose=purpose)
    table = Table("at", "who", "role", "did", "of", "purpose")
    for one in api_client(settings).access_log(asked):
        add_row(table, shown(one.at), one.actor, one.role, one.action, one.object, one.purpose)
    show(table)


COMMANDS: Final = (columns, import_, erase, readmit, access_log)
"""What `truyvet people` has from here."""


def _subject(settings: Settings, pseudonym: str | None, *, cccd: bool) -> str:
    if cccd and pseudonym is not None:
        raise click.UsageError("Give PSEUDONYM or --cccd, not both.")
    return (identify.citizen(load(settings.keys_path)) if cccd else identify.known(pseudonym)).subject


def _sent(client: ApiClient, file: TextIO, *, dry_run: bool, purpose: str) -> NamesImported:
    """All pieces sent, counted together; errors name the lines of the whole file."""
    total = NamesImported(new=0, changed=0, unchanged=0, wrong=0, errors=[], dry_run=dry_run)
    progress = sys.stderr.isatty()
    for before, piece in pieces(file, CHARACTERS_A_REQUEST):
        one = client.import_names(NamesImport(csv=piece, dry_run=dry_run, purpose=purpose))
        errors = [msgspec.structs.replace(error, line=error.line + before) for error in one.errors]
        total = NamesImported(
            new=total.new + one.new,
            changed=total.changed + one.changed,
            unchanged=total.unchanged + one.unchanged,
            wrong=total.wrong + one.wrong,
            errors=[*total.errors, *errors],
            dry_run=dry_run,
        )
        if progress:
            done = total.new + total.changed + total.unchanged + total.wrong
            click.echo(f"\r{done:,} lines", nl=False, err=True)
    if progress:
        click.echo(err=True)
    return total
