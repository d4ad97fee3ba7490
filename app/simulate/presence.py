"""How far even the right answer is from the truth on the ground: forgotten exits blur every check-in system."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from app.simulate.movements import Visit
from app.simulate.truth import MIN_MS_DEFAULT, Span, union_ms
from app.simulate.wallet import Who
from app.simulate.world import World

Together = dict[Who, list[Span]]
"""When somebody was together with the person asked about; the spans may overlap."""


class Blur(msgspec.Struct, frozen=True):
    """Contacts of the answer held against contacts of the real presences, by the same rule at the same places.

    `real_ms` and `named_ms` are everybody's time with the person, really and in the answer; `shared_ms` is both.
    `household` are the others of the person's household; homes have no scanner, so `household_found` of them are
    in the answer only because they also met elsewhere.
    """

    real: int
    found: int
    missed: int
    invented: int
    real_ms: int
    named_ms: int
    shared_ms: int
    household: int
    household_found: int

    @property
    def recall(self) -> float:
        """Of the real contacts, the share that the answer names; 1 where there are none."""
        return _share(self.found, self.real)

    @property
    def precision(self) -> float:
        """Of those that the answer names, the share that are real; 1 where it names nobody."""
        return _share(self.found, self.found + self.invented)

    @property
    def time_recall(self) -> float:
        """Of the time really spent together, the share that the answer covers."""
        return _share(self.shared_ms, self.real_ms)

    @property
    def time_precision(self) -> float:
        """Of the time together in the answer, the share that is real."""
        return _share(self.shared_ms, self.named_ms)


def blur(world: World, number: int, window: Span, answered: Together) -> Blur:
    """Hold the answer for person `number` against where people were."""
    real = really_together(world, number, window)
    home = world.people[number].household
    household = {person.number for person in world.people if person.household == home} - {number}
    everybody = real.keys() | answered.keys()
    return Blur(
        real=len(real),
        found=len(real.keys() & answered.keys()),
        missed=len(real.keys() - answered.keys()),
        invented=len(answered.keys() - real.keys()),
        real_ms=sum(map(union_ms, real.values())),
        named_ms=sum(map(union_ms, answered.values())),
        shared_ms=sum(_overlap_ms(real.get(who, []), answered.get(who, [])) for who in everybody),
        household=len(household),
        household_found=len(household & answered.keys()),
    )


def really_together(world: World, number: int, window: Span, min_ms: int = MIN_MS_DEFAULT) -> Together:
    """With whom person `number` really shared places for that long in all, and when."""
    own: dict[str, list[Span]] = defaultdict(list)
    for place, start, end in _flat(world.lives[number]):
        if max(start, window[0]) < min(end, window[1]):
            own[place].append((max(start, window[0]), min(end, window[1])))
    others: Iterable[tuple[Who, list[Visit]]] = [*enumerate(world.lives), *world.drives.items()]
    shared = {who: list(_shared(own, visits)) for who, visits in others if who != number}
    return {who: spans for who, spans in shared.items() if spans and union_ms(spans) >= min_ms}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _overlap_ms(one: list[Span], other: list[Span]) -> int:
    return union_ms(one) + union_ms(other) - union_ms(one + other)


def _shared(own: dict[str, list[Span]], visits: list[Visit]) -> Iterator[Span]:
    for place, start, end in _flat(visits):
        for own_start, own_end in own.get(place, ()):
            if max(start, own_start) < min(end, own_end):
                yield max(start, own_start), min(end, own_end)


def _flat(visits: Iterable[Visit]) -> Iterator[tuple[str, int, int]]:
    """Every place that the visits were at, buildings and rooms alike."""
    for visit in visits:
        yield visit.place, visit.start, visit.end
        yield from _flat(visit.rooms)
