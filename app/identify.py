"""Whom a command is about. Numbers that name a person are asked for, never taken from the command line.

Arguments can be read by everybody on the machine and stay in the shell's history.
"""

import secrets
import sys
from typing import Final

import click
import msgspec

from app.errors import Explained
from events.cases import Subject, SubjectKind
from events.devices import Pseudonym
from keys.pseudonyms import PSEUDONYM_BYTES, NotPseudonymous, pseudonym_of_citizen, pseudonym_of_vehicle
from keys.secrets import ServerSecrets

CCCD: Final = "Citizen number (CCCD, 12 digits)"
PLATE: Final = "Number plate"
PSEUDONYM: Final = "Pseudonym (32 hex digits)"


class NotIdentified(Explained):
    """What was entered names nobody; the message never quotes it."""


def asked(question: str, *, hidden: bool) -> str:
    """One line from the terminal, or from standard input where there is none."""
    if sys.stdin.isatty():
        return str(click.prompt(question, hide_input=hidden, err=True)).strip()
    return sys.stdin.readline().strip()


def citizen(keys: ServerSecrets) -> Subject:
    """The person of a citizen number that is asked for. Raises `NotIdentified`."""
    try:
        return Subject(subject=pseudonym_of_citizen(asked(CCCD, hidden=True), keys.pseudonym_key).hex())
    except NotPseudonymous as error:
        raise NotIdentified(f"Nobody was entered: {error}.") from None


def vehicle(keys: ServerSecrets) -> Subject:
    """The vehicle of a plate that is asked for. Raises `NotIdentified`."""
    try:
        pseudonym = pseudonym_of_vehicle(asked(PLATE, hidden=False), keys.pseudonym_key)
    except NotPseudonymous as error:
        raise NotIdentified(f"No vehicle was entered: {error}.") from None
    return Subject(subject=pseudonym.hex(), kind=SubjectKind.VEHICLE)


def known(pseudonym: str | None) -> Subject:
    """The person of a pseudonym, which is asked for where it is None. Raises `NotIdentified`."""
    try:
        return Subject(subject=msgspec.convert(pseudonym or asked(PSEUDONYM, hidden=False), Pseudonym))
    except msgspec.ValidationError:
        raise NotIdentified("A pseudonym is 32 lower-case hex digits; `truyvet subject add` prints it.") from None


def new_person() -> Subject:
    """A person whom no number names: a random pseudonym."""
    return Subject(subject=secrets.token_hex(PSEUDONYM_BYTES))
