"""`truyvet audit`: who looked at whom, and whether nobody touched the record of it."""

import sys
from typing import Final, TextIO

import click
import msgspec
from rich.table import Table

from app.client import api_client
from app.clock import shown
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from keys.audit_chain import Checkpoint
from tracing.routes.audit import VerifyRequest

EXIT_BROKEN: Final = 3
HASH_CHARACTERS_SHOWN: Final = 16


@click.group()
def audit() -> None:
    """Read the record of who looked at whom, and verify that nobody changed it.

    \b
    Example:
      truyvet audit head > head.json            (keep it elsewhere: on paper, with the auditor)
      truyvet audit verify --checkpoint head.json
    """


@audit.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, an entry a line, with the people's tags and the hash.")
@click.pass_obj
def list_(settings: Settings, *, limit: int, as_json: bool) -> None:
    """List the newest entries.

    \b
    Example:
      truyvet audit list --limit 200
    """
    items = api_client(settings).audit(limit)
    if as_json:
        for item in items:
            click.echo(codec.to_json(item))
        return
    table = Table("number", "at", "who", "role", "did", "of", "people", "purpose")
    for item in items:
        people = f"{len(item.people)}" if item.people else ""
        cells = (f"{item.number}", shown(item.at), item.actor, item.role, item.action)
        add_row(table, *cells, item.object, people, item.purpose)
    show(table)


@audit.command()
@click.pass_obj
def head(settings: Settings) -> None:
    """Print the chain's head as a signed checkpoint, in JSON. Keep it where nobody who runs the service can reach it.

    \b
    Example:
      truyvet audit head > head-2021-10-21.json
    """
    found = api_client(settings).audit_head()
    click.echo(codec.to_json(found))
    short = f"{found.hash[:HASH_CHARACTERS_SHOWN]}…"
    click.echo(f"Entry {found.number}, {short}, as of {shown(found.at)}.", err=True)


@audit.command()
@click.option("--checkpoint", type=click.File(encoding="utf-8"), help="A file of `truyvet audit head`, kept before.")
@click.option("--answers", is_flag=True, help="Compare the saved traces with what was recorded of them, too.")
@click.pass_obj
def verify(settings: Settings, *, checkpoint: TextIO | None, answers: bool) -> None:
    """Follow the whole chain and name the first entry that does not fit.

    The exit code is 0 where every entry holds and 3 where one does not. Without a checkpoint that was kept elsewhere,
    nobody can tell a chain that somebody computed anew.

    \b
    Example:
      truyvet audit verify --checkpoint head-2021-10-21.json
    """
    asked = VerifyRequest(checkpoint=_read(checkpoint) if checkpoint is not None else None, answers=answers)
    client, progress = api_client(settings), sys.stderr.isatty()
    compared = gone = 0
    while True:
        step = client.verify_audit(asked)
        compared, gone = compared + step.answers, gone + step.answers_gone
        if progress:
            click.echo(f"\r{step.number:,} of {step.end:,} entries", nl=False, err=True)
        if step.done or step.broken is not None:
            break
        asked = msgspec.structs.replace(asked, after=step.number, hash=step.hash)
    if progress:
        click.echo(err=True)
    if answers:
        click.echo(f"{counted(compared, 'saved trace', 'saved traces')} compared; {gone:,} kept no longer.", err=True)
    if step.broken is not None:
        click.echo(f"✘ Entry {step.broken.number} is {step.broken.kind}: {step.broken.text}.")
        click.echo(f"The entries before it hold: {step.number:,}.", err=True)
        sys.exit(EXIT_BROKEN)
    click.echo(f"✔ {counted(step.number, 'entry holds', 'entries hold')}, up to {step.hash[:HASH_CHARACTERS_SHOWN]}….")


def _read(file: TextIO) -> Checkpoint:
    try:
        return codec.from_json(file.read(), Checkpoint)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise click.UsageError("The checkpoint is none that `truyvet audit head` printed.") from None
