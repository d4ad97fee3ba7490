"""`truyvet subject`: people and vehicles that codes are issued for."""

import click

from app import identify
from app.clock import DAY_MS, now_ms, shown
from app.key_file import load
from app.personal_codes import fresh_code
from app.registries import open_registries
from app.settings import Settings
from events.control import CodeRevoked, CodesRevoked, SubjectAdded
from events.scans import Refusal
from keys.codes import CodeOpener


@click.group()
def subject() -> None:
    """Enter people and vehicles, and make their codes. The service knows them by pseudonym alone.

    \b
    Example:
      truyvet subject add
    """


@subject.command()
@click.option("--cccd", is_flag=True, help="Ask for the citizen number; it becomes the pseudonym and is kept nowhere.")
@click.option("--plate", is_flag=True, help="A vehicle: ask for its number plate.")
@click.option("--valid", "days", type=click.IntRange(1, 366), default=14, show_default=True, help="Days of the code.")
@click.pass_obj
def add(settings: Settings, *, cccd: bool, plate: bool, days: int) -> None:
    """Enter a subject and print the pseudonym and a personal code.

    Without an option the pseudonym is random. The same citizen number or plate gives the same pseudonym again.
    Numbers are asked for, or read from standard input, never given as arguments that others can read.

    \b
    Example:
      truyvet subject add --cccd
    """
    if cccd and plate:
        raise click.UsageError("Give --cccd or --plate, not both.")
    keys = load(settings.keys_path)
    one = identify.citizen(keys) if cccd else identify.vehicle(keys) if plate else identify.new_person()
    now = now_ms()
    code = fresh_code(keys, one, now_ms=now, days=days)
    with open_registries(settings) as registries:
        if registries.registry.subject(one.subject) != one:
            registries.record([SubjectAdded(one)])
    click.echo(f"pseudonym  {one.subject}")
    click.echo(f"code       {code}")
    click.echo(f"The code is valid until {shown(now + days * DAY_MS)}; `truyvet qr person` draws one.", err=True)


@subject.command()
@click.option("--all", "every_code", is_flag=True, help="Every code that the subject has; asks for the pseudonym.")
@click.pass_obj
def revoke(settings: Settings, *, every_code: bool) -> None:
    """Void a personal code that was lost or photographed, from now on. Asks for the code's text.

    Scans made before now stay good, however late they arrive. Codes that are issued afterwards are good.

    \b
    Example:
      truyvet subject revoke < lost-code.txt
    """
    event = _all_codes() if every_code else _one_code(settings)
    with open_registries(settings) as registries:
        registries.record([event])
    click.echo("Every code issued until now is void." if every_code else "The code is void.")


def _all_codes() -> CodesRevoked:
    # Times in codes are whole seconds, cut down: what was issued in this very second is void as well.
    return CodesRevoked(identify.known(None).subject, now_ms())


def _one_code(settings: Settings) -> CodeRevoked:
    code = CodeOpener(load(settings.keys_path)).open_person(identify.asked("Personal code (TV1.…)", hidden=False))
    if isinstance(code, Refusal):
        raise click.ClickException(
            f"Nothing was revoked: this is no personal code of this service ({code.value})."
            " Where its text is lost, void all of the person's codes: truyvet subject revoke --all."
        )
    return CodeRevoked(code.code.hex())
