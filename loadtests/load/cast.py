"""Who is scanned and where: the people, vehicles and places of a load test.

Its people exist in no register. Their codes and the codes on walls come from `loadtests.load.codes`, which needs the
service's key file; without them scanners name people by bare pseudonym, and phones have nothing to scan.
"""

import enum
import secrets
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from events import codec
from events.places import Category

PERSONS: Final = 400
VEHICLES: Final = 80
PSEUDONYM_BYTES: Final = 16


class Spot(enum.StrEnum):
    """The kinds of places, by the users that scan there."""

    DOOR = "door"
    GATEWAY = "gateway"
    CHECKPOINT = "checkpoint"


SPOTS: Final = {
    Spot.DOOR: (Category.SHOP, 40),
    Spot.GATEWAY: (Category.MALL, 8),
    Spot.CHECKPOINT: (Category.CHECKPOINT, 8),
}
"""Each kind's category, and how many places there are of it."""


class Bearer(msgspec.Struct, frozen=True):
    """Somebody, or a vehicle. `code` is a personal code's text; None: known by bare pseudonym."""

    subject: str
    code: str | None = None


class Cast(msgspec.Struct, frozen=True):
    """Everybody, and the texts of the codes on walls by place id."""

    persons: Annotated[list[Bearer], Meta(min_length=1)]
    vehicles: Annotated[list[Bearer], Meta(min_length=1)]
    walls: dict[str, str]

    @property
    def has_codes(self) -> bool:
        """Whether people show codes; else devices must be allowed to name them by pseudonym."""
        return self.persons[0].code is not None


class CastUnusable(Exception):
    """The file holds no cast; the message names it and says what to do."""


def pseudonym() -> str:
    """Somebody new."""
    return secrets.token_hex(PSEUDONYM_BYTES)


def strangers() -> Cast:
    """A cast without codes."""
    return Cast([Bearer(pseudonym()) for _ in range(PERSONS)], [Bearer(pseudonym()) for _ in range(VEHICLES)], {})


def load_cast(path: Path) -> Cast:
    """The cast of a file that `loadtests.load.codes` made. Raises `CastUnusable`."""
    try:
        return codec.from_json(path.read_bytes(), Cast)
    except (OSError, msgspec.MsgspecError) as error:
        raise CastUnusable(
            f"{path} holds no codes ({type(error).__name__})."
            " `python -m loadtests.load.codes --help` says how to make it."
        ) from None


def place_ids(spot: Spot) -> list[str]:
    """The ids of all places of a kind. They are the same in every run: a place is registered once."""
    _, count = SPOTS[spot]
    return [f"load-{spot}-{number}" for number in range(1, count + 1)]
