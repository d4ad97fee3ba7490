"""From where the walk must be done anew: the tails give the difference that the walks of everything give."""

import random
from typing import Final

import numpy as np
import pytest

from events.places import Place, PlaceTree
from projections.difference import missing, tails, unchanged
from projections.places_together import Ints, PlaceTable
from projections.stay_rows import Keys, keys_of
from projections.stays import STAY_MS_MAX
from projections.walk_together import DWELL, UNENDED, Scans, Stays, in_order, walk_together

HOUR_MS: Final = 3_600_000
START: Final = 1_634_860_800_000

Named = tuple[int, ...]


def world(seed: int) -> tuple[PlaceTable, Scans, Ints]:
    """A few places, most of them held for long, and five people's scans of some days; when each came in."""
    rng = random.Random(seed)
    count = rng.choice([1, 2, 4])
    places = [
        Place(
            id=f"p{number}",
            number=number,
            name="P",
            parent=f"p{rng.randrange(number)}" if number and rng.random() < 0.5 else None,
            dwell_seconds=rng.choice([600, 3 * 3_600, 9 * 3_600, 12 * 3_600]),
        )
        for number in range(count)
    ]
    rows = [
        (
            rng.randrange(5),
            START + rng.randrange(96) * HOUR_MS,
            rng.random() < 0.7,
            rng.randrange(3),
            seq,
            rng.randrange(count),
        )
        for seq in range(rng.choice([20, 60]))
    ]
    table = np.array(rows, dtype=np.int64)
    scans = Scans(table[:, 0], table[:, 1], table[:, 2].astype(np.bool_), table[:, 3], table[:, 4], table[:, 5])
    return PlaceTable(PlaceTree(places)), in_order(scans, str), np.array([rng.random() for _ in rows])


def named(stays: Stays, scans: Scans, passed: int = -(2**60)) -> set[tuple[Named, Named]]:
    """Each stay with the seqs that prove it; a limit that has passed is DWELL, whether a scan came later or not."""
    over = (stays.exit == UNENDED) & (stays.end <= passed)
    stays = stays._replace(exit=np.where(over, DWELL, stays.exit))
    return {
        (
            tuple(int(column[number]) for column in stays[:6]),
            tuple(scans.seq[stays.scans[stays.first[number] : stays.first[number + 1]]].tolist()),
        )
        for number in range(len(stays.start))
    }


@pytest.mark.parametrize("since_hours", [0, 30])
def test_tails_give_the_difference_of_the_whole_walks(since_hours: int) -> None:
    decided = 0
    for seed in range(600):
        places, everything, luck = world(seed)
        rng = random.Random(seed)
        # What came in later happened late as well, mostly.
        new = (luck < 0.15) & (everything.at >= START + rng.choice([20, 50, 70]) * HOUR_MS)
        since = START + since_hours * HOUR_MS
        within = everything.at >= since
        if (new & ~within).any():
            continue
        scans, changed = everything.take(within), new[within]
        upto = START + rng.choice([40, 80, 200]) * HOUR_MS
        found = tails(scans, changed, places.roots_of(scans.place), since=since if since_hours else -(2**60), upto=upto)
        walked = np.zeros(len(scans.at), dtype=np.bool_)
        walked[found.scans] = True
        who = np.setdiff1d(np.unique(scans.subject[changed]), found.undecided)
        decided += len(who)
        sure = np.isin(everything.subject, who)
        old, now = everything.take(sure & ~new), everything.take(sure)
        whole = (named(walk_together(old, places), old, upto), named(walk_together(now, places), now, upto))
        old, now = scans.take(walked & ~changed), scans.take(walked)
        short = (named(walk_together(old, places), old, upto), named(walk_together(now, places), now, upto))
        assert short[1] - short[0] == whole[1] - whole[0]
        assert short[0] - short[1] == whole[0] - whole[1]
    assert decided > 500


def test_unchanged_stays_are_the_same_in_everything() -> None:
    for seed in range(200):
        places, scans, luck = world(seed)
        chosen = np.flatnonzero(luck > 0.1)
        old, new = walk_together(scans.take(chosen), places), walk_together(scans, places)
        old = old._replace(scans=chosen[old.scans])
        same_old, same_new = unchanged(old, new, len(scans.at))
        assert named(old.take(same_old), scans) == named(new.take(same_new), scans)
        assert named(old, scans) & named(new, scans) == named(new.take(same_new), scans)


def test_what_is_missing_is_named_once() -> None:
    def keys(*rows: tuple[int, int, int, int]) -> Keys:
        return Keys(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)

    known = keys((1, 1, 1, 1), (2, 1, 1, 1), (2, 1, 1, 2), (2, 1, 1, 2), (9, 1, 1, 1))
    assert sorted(missing(known, keys((9, 1, 1, 1), (2, 1, 1, 1))).tolist()) in ([0, 2], [0, 3])
    assert missing(keys(), known).tolist() == []
    assert sorted(missing(known, keys()).tolist()) in ([0, 1, 2, 4], [0, 1, 3, 4])


def test_a_stay_stands_once_a_dwell_and_once_an_hour() -> None:
    places = PlaceTable(
        PlaceTree(
            [
                Place(id="a", number=1, name="A", dwell_seconds=1_800),
                Place(id="b", number=2, name="B", dwell_seconds=7_200),
            ]
        )
    )
    ints = np.array
    stays = Stays(
        subject=ints([0, 1, 2, 3, 4]),
        place=ints([1, 2, 2, 2, 2]),
        start=ints([HOUR_MS - 60_000, 3 * HOUR_MS + 1, 3 * HOUR_MS, -5, HOUR_MS // 2]),
        end=ints([2 * HOUR_MS + 1, 5 * HOUR_MS + 1, 8 * HOUR_MS, 10, HOUR_MS // 2 + STAY_MS_MAX]),
        entry=ints([1, 1, 1, 2, 1]),
        exit=ints([1, 1, 1, 1, 1]),
        first=ints([0, 1, 2, 3, 4, 5]),
        scans=ints([0, 1, 2, 3, 4]),
    )
    keys, which = keys_of(stays, places)
    hours = [
        (int(stay), int(key >> 32), int(key & 0xFFFF_FFFF)) for stay, key in zip(which, keys.place_hour, strict=True)
    ]
    assert hours[:7] == [(0, 1, 0), (0, 1, 1), (1, 2, 3), (2, 2, 3), (2, 2, 5), (2, 2, 7), (3, 2, 0)]
    assert hours[7:] == [(4, 2, hour) for hour in (*range(0, 24, 2), 24)], "and at its last hour, which a day has ended"
