"""Everybody's scans as stays, by the book: a person's walk, done for a whole province at once.

Written from the page that fixes what a trace means, for columns and apart from the service's own walk. It knows a world
of premises and rooms: of the stays that can be open at once, one is at premises and one in a room.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtests.bench.trace.world import DAY_MS, DAYS, OUT, Country, Flags, Ints, Moment

NOWHERE: Final = -1
LONG_AGO: Final = -(2**62)


class Stays(msgspec.Struct, frozen=True):
    """Stays in columns, in no order: person's index in the province, place's rank, `[start, end)` in Unix ms."""

    person: Ints
    place: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        """How many stays."""
        return len(self.person)

    def of(self, rows: NDArray[np.intp] | Flags) -> "Stays":
        """These of them."""
        return Stays(self.person[rows], self.place[rows], self.start[rows], self.end[rows])


def walked(country: Country, province: int, as_of: int) -> Stays:
    """The stays of everybody in the province from all scans, as of a moment (ms) after the last of them."""
    walk = Walk(country.people, country.parents(), country.dwells())
    return joined([*(walk.through(country.day(province, day)) for day in range(DAYS)), walk.ended(as_of)])


def joined(several: Sequence[Stays]) -> Stays:
    """All of them together."""
    return Stays(*(np.concatenate([getattr(each, name) for each in several]) for name in Stays.__struct_fields__))


class Walk:
    """So many people on their way through the places. Everything is by index, times in ms."""

    def __init__(self, people: int, parents: Ints, dwells: Ints) -> None:
        """`parents` and `dwells` are by place."""
        self._parents: Final = parents
        self._premises: Final = _Open(people, dwells)
        self._rooms: Final = _Open(people, dwells)
        self._previous: Final = np.full(people, LONG_AGO)

    def through(self, moments: Iterable[Moment]) -> Stays:
        """Go on through these moments, which are in everybody's order; what ended by then."""
        for moment in moments:
            (who,) = np.nonzero(moment.there)
            self._step(who, moment.at[who], moment.place[who], moment.kind[who] == OUT)
        return self._taken()

    def ended(self, as_of: int) -> Stays:
        """End what is still open, as of a moment after the last scan."""
        everybody = np.arange(len(self._previous))
        for level in (self._premises, self._rooms):
            level.expire(everybody, np.full(len(everybody), as_of))
            level.leave(everybody, np.full(len(everybody), as_of))
        return self._taken()

    def _step(self, who: Ints, at: Ints, place: Ints, out: Flags) -> None:
        premises, rooms = self._premises, self._rooms
        is_room = self._parents[place] != NOWHERE
        outer = np.where(is_room, self._parents[place], place)
        premises.expire(who, at)
        rooms.expire(who, at)
        gone, left = premises.place[who] != outer, rooms.place[who] != place
        premises.leave(who[gone], at[gone])
        rooms.leave(who[left], at[left])
        for level, here in ((premises, ~is_room), (rooms, is_room)):
            came, went = here & ~out, here & out
            level.enter(who[came], place[came], at[came])
            level.exit(who[went], place[went], at[went], self._previous[who[went]])
        self._previous[who] = at

    def _taken(self) -> Stays:
        return joined([self._premises.taken(), self._rooms.taken()])


NONE: Final = Stays(*(np.empty(0, np.int64) for _ in Stays.__struct_fields__))


class _Open:
    """The open stay of each person at one level, if any."""

    def __init__(self, people: int, dwells: Ints) -> None:
        self.place: Final = np.full(people, NOWHERE)
        self._start: Final = np.zeros(people, np.int64)
        self._last_seen: Final = np.zeros(people, np.int64)
        self._dwells: Final = dwells
        self._ended: list[Stays] = []

    def taken(self) -> Stays:
        """What has ended since this was called last."""
        ended, self._ended = self._ended, []
        return joined([NONE, *ended])

    def expire(self, who: Ints, at: Ints) -> None:
        """End what has reached its limit by then."""
        limit = np.minimum(self._last_seen[who] + self._dwells[self.place[who]], self._start[who] + DAY_MS)
        over = limit <= at
        self.leave(who[over], limit[over])

    def leave(self, who: Ints, at: Ints) -> None:
        """End what is open."""
        is_open = self.place[who] != NOWHERE
        who, at = who[is_open], at[is_open]
        self._end(who, self.place[who], self._start[who], at)
        self.place[who] = NOWHERE

    def enter(self, who: Ints, place: Ints, at: Ints) -> None:
        """Somebody came in, or was seen again. Whatever is open is here."""
        fresh = self.place[who] == NOWHERE
        self._start[who[fresh]] = at[fresh]
        self.place[who] = place
        self._last_seen[who] = at

    def exit(self, who: Ints, place: Ints, at: Ints, previous: Ints) -> None:
        """Somebody went out of here, where their stay may be open or nothing is."""
        missed = self.place[who] == NOWHERE
        began = np.maximum(at - self._dwells[place], previous)[missed]
        self._end(who[missed], place[missed], began, at[missed])
        self.leave(who, at)

    def _end(self, who: Ints, place: Ints, start: Ints, end: Ints) -> None:
        some = start < end
        self._ended.append(Stays(who[some], place[some], start[some], end[some]))
