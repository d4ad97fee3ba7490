"""`truyvet health`: vaccinations and tests, imported from the registers that keep them."""

import sys
from collections.abc import Iterator
from typing import Final, TextIO

import click
import msgspec

from app.client import ApiClient, api_client
from app.commands.line_files import tell_columns, tell_wrong
from app.commands.options import PURPOSE
from app.settings import Settings
from app.terminal import counted
from tracing.line_files import RowError
from tracing.people.health import DICTIONARY
from tracing.routes.people import HealthImport, HealthImported

LINES_A_REQUEST: Final = 4_000
CHARACTERS_A_REQUEST: Final = 400_000
"""Both hold: a request stays below what the service takes."""


@click.group()
def health() -> None:
    """Import vaccinations and tests, to be shown beside contacts.

    \b
    Example:
      truyvet health columns
      truyvet health import vaccinations.csv --dry-run --purpose "vaccinations of week 37"
    """


@health.command()
def columns() -> None:
    """Print the data dictionary of the file: its columns and what stands in them."""
    tell_columns(DICTIONARY)


@health.command("import")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@click.option("--dry-run", is_flag=True, help="Check every line and keep nothing.")
@PURPOSE
@click.pass_obj
def import_(settings: Settings, *, file: TextIO, dry_run: bool, purpose: str) -> None:
    """Import FILE. Good lines are kept, wrong ones are listed; importing it again changes nothing.

    The exit code is 1 where a line is wrong.

    \b
    Example:
      truyvet health import tests.csv --purpose "tests of the provincial laboratory"
    """
    total = _sent(api_client(settings), file, dry_run=dry_run, purpose=purpose)
    tell_wrong(total.errors)
    more = total.wrong - len(total.errors)
    if more:
        click.echo(f"… and {counted(more, 'more wrong line', 'more wrong lines')}.", err=True)
    kept = "would be kept" if dry_run else "kept"
    click.echo(
        f"{counted(total.taken, 'line', 'lines')} {kept}, {total.withdrawn} of them take a record back;"
        f" {total.wrong} wrong."
    )
    if total.wrong:
        sys.exit(1)


def _sent(client: ApiClient, file: TextIO, *, dry_run: bool, purpose: str) -> HealthImported:
    """All pieces sent, counted together; errors name the lines of the whole file."""
    total = HealthImported(taken=0, withdrawn=0, wrong=0, errors=[], dry_run=dry_run)
    progress = sys.stderr.isatty()
    for before, piece in pieces(file):
        one = client.import_health(HealthImport(csv=piece, dry_run=dry_run, purpose=purpose))
        total = HealthImported(
            taken=total.taken + one.taken,
            withdrawn=total.withdrawn + one.withdrawn,
            wrong=total.wrong + one.wrong,
            errors=[*total.errors, *(_shifted(error, before) for error in one.errors)],
            dry_run=dry_run,
        )
        if progress:
            click.echo(f"\r{total.taken + total.wrong:,} lines", nl=False, err=True)
    if progress:
        click.echo(err=True)
    return total


def pieces(file: TextIO, characters_max: int = CHARACTERS_A_REQUEST) -> Iterator[tuple[int, str]]:
    """The file in pieces of whole lines, each with the header, and how many lines lie between the two.

    No cell of this table may hold a line break, so that a line is a record; one that does is told as an error.
    """
    header = file.readline()
    before, lines, characters = 0, [header], len(header)
    for line in file:
        if len(lines) > LINES_A_REQUEST or characters + len(line) > characters_max:
            yield before, "".join(lines)
            before += len(lines) - 1
            lines, characters = [header], len(header)
        lines.append(line)
        characters += len(line)
    yield before, "".join(lines)


def _shifted(error: RowError, lines: int) -> RowError:
    return msgspec.structs.replace(error, line=error.line + lines)
