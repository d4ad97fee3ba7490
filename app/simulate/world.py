"""One world: everything that follows from a plan, before any key, code or server exists."""

import msgspec

from app.simulate.attendance import Attempt, attend, passages
from app.simulate.delivery import Parcel, Taken, deliver, number_scans
from app.simulate.movements import Visit, drives, lives
from app.simulate.people import Person, build_people
from app.simulate.plan import Plan
from app.simulate.premises import Premises, build_premises


class World(msgspec.Struct, frozen=True):
    """`lives[n]` is where `people[n]` was; `drives` the same for cars by plate.

    `taken` holds every scan by device, `parcels` how they reach the server.
    """

    plan: Plan
    premises: Premises
    people: list[Person]
    lives: list[list[Visit]]
    drives: dict[str, list[Visit]]
    taken: dict[str, list[Taken]]
    parcels: list[Parcel]

    @property
    def scans(self) -> int:
        """How many scans there are, each counted once."""
        return sum(map(len, self.taken.values()))


def build_world(plan: Plan) -> World:
    """The world of this plan; about a second for every 50,000 scans."""
    premises = build_premises(plan)
    people = build_people(plan, premises)
    lived = lives(plan, premises, people)
    driven = drives(premises, people, lived)
    taken = number_scans(_attempts(plan, premises, people, lived, driven))
    return World(plan, premises, people, lived, driven, taken, deliver(plan, taken))


def _attempts(
    plan: Plan,
    premises: Premises,
    people: list[Person],
    lived: list[list[Visit]],
    driven: dict[str, list[Visit]],
) -> list[Attempt]:
    scanned = [
        attempt for person, life in zip(people, lived, strict=True) for attempt in attend(plan, premises, person, life)
    ]
    scanned.extend(attempt for plate, visits in driven.items() for attempt in passages(plan, premises, plate, visits))
    return scanned
