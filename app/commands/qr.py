"""`truyvet qr`: codes to print, to show, to scan."""

import os
import sys
from pathlib import Path
from typing import Final

import click
import segno

from app import identify
from app.clock import DAY_MS, now_ms
from app.key_file import load
from app.personal_codes import fresh_code
from app.registries import open_registries
from app.settings import Settings
from keys.codes import issue_place_code

MODULE_PIXELS: Final = 8
QUIET_ZONE_MODULES: Final = 4
SUFFIXES: Final = (".png", ".svg")
STANDARD_OUTPUT: Final = Path("-")
FILE_MODE: Final = 0o600
"""A personal code is its owner's to show."""

out_option = click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="A .png or .svg file, or - for SVG on standard output; without it the terminal shows the code.",
)


@click.group()
def qr() -> None:
    """Make QR codes: for a place's wall, which phones scan, or for a person, whom scanners scan.

    \b
    Example:
      truyvet qr place market --out market.svg
    """


@qr.command()
@click.argument("place_id", metavar="ID")
@out_option
@click.option("--valid", "days", type=click.IntRange(0, 3_660), default=180, show_default=True, help="0: for ever.")
@click.pass_obj
def place(settings: Settings, place_id: str, out: Path | None, days: int) -> None:
    """Make the code of place ID. A phone that scans it checks its owner in.

    A code that expires limits what a photograph of it is good for.

    \b
    Example:
      truyvet qr place market --valid 90 --out market.svg
    """
    with open_registries(settings) as registries:
        if place_id not in registries.registry.places().by_id:
            raise click.ClickException(f"No place has the id {place_id!r}. `truyvet place list` shows them.")
    now = now_ms()
    expires = now + days * DAY_MS if days else None
    draw(issue_place_code(load(settings.keys_path), place_id, issued=now, expires=expires), out)


@qr.command()
@click.argument("pseudonym", required=False)
@click.option("--cccd", is_flag=True, help="Ask for the citizen number instead of the pseudonym.")
@click.option("--plate", is_flag=True, help="A vehicle: ask for its number plate.")
@out_option
@click.option("--valid", "days", type=click.IntRange(1, 366), default=14, show_default=True, help="Days.")
@click.pass_obj
def person(settings: Settings, pseudonym: str | None, out: Path | None, days: int, *, cccd: bool, plate: bool) -> None:
    """Make a personal code. Two codes of one person cannot be linked by whoever scans them.

    The pseudonym is asked for when it is not given.

    \b
    Example:
      truyvet qr person --cccd --valid 7 --out me.png
    """
    if (pseudonym is not None) + cccd + plate > 1:
        raise click.UsageError("Give one of PSEUDONYM, --cccd and --plate.")
    keys = load(settings.keys_path)
    one = identify.citizen(keys) if cccd else identify.vehicle(keys) if plate else identify.known(pseudonym)
    draw(fresh_code(keys, one, now_ms=now_ms(), days=days), out)


def draw(text: str, out: Path | None) -> None:
    """Show the text as a QR code in the terminal, or write it to a .png or .svg file, or to standard output."""
    code = segno.make_qr(text, error="m")
    if out is None:
        code.terminal(out=sys.stdout, compact=True, border=QUIET_ZONE_MODULES)
        click.echo(text)
        return
    if out == STANDARD_OUTPUT:
        code.save(sys.stdout.buffer, kind="svg", scale=MODULE_PIXELS, border=QUIET_ZONE_MODULES)
        return
    if out.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--out must end in {' or '.join(SUFFIXES)}.")
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)  # a file that was there keeps its mode otherwise
        code.save(file, kind=out.suffix[1:].lower(), scale=MODULE_PIXELS, border=QUIET_ZONE_MODULES)
    click.echo(f"Wrote {out}.")
