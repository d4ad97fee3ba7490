"""What to simulate."""

import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from app.simulate.chance import name_of

PEOPLE_MIN: Final = 20
PEOPLE_MAX: Final = 20_000
DAYS_MAX: Final = 21
PEOPLE_DEFAULT: Final = 2_000
DAYS_DEFAULT: Final = 14
SEED_DEFAULT: Final = 1
SEED_MAX: Final = 2**32 - 1

VIETNAM: Final = datetime.timezone(datetime.timedelta(hours=7), "UTC+7")
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
_UTC_OFFSET_MS: Final = 7 * HOUR_MS


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole input of a world: equal plans give equal worlds.

    `end` (Unix ms) is the moment up to which the world is lived; its day in Vietnam is the last of `days`.
    """

    people: Annotated[int, Meta(ge=PEOPLE_MIN, le=PEOPLE_MAX)] = PEOPLE_DEFAULT
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = DAYS_DEFAULT
    seed: Annotated[int, Meta(ge=0, le=SEED_MAX)] = SEED_DEFAULT
    end: int

    @property
    def tag(self) -> str:
        """Six hex digits that set this world's places, devices and people apart from every other plan's."""
        return name_of(self.seed, self.people, self.days, self.end)

    @property
    def midnights(self) -> list[int]:
        """When each day begins in Vietnam, Unix ms, oldest first."""
        today = local_midnight(self.end - 1)
        return [today - back * DAY_MS for back in range(self.days - 1, -1, -1)]


def local_midnight(at: int) -> int:
    """The Unix ms at which the day of `at` began in Vietnam, which knows no summer time."""
    return at - (at + _UTC_OFFSET_MS) % DAY_MS


def weekday(midnight: int) -> int:
    """Monday is 0, for the day in Vietnam that begins at `midnight` (Unix ms)."""
    return datetime.datetime.fromtimestamp(midnight / 1000, VIETNAM).weekday()
