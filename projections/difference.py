"""What few new scans change: from which scan on both walks must be done, and what differs between their stays. Pure."""

from typing import Final, NamedTuple

import numpy as np

from events.places import DWELL_SECONDS_MAX
from projections.places_together import Bools, Ints
from projections.stay_rows import Keys
from projections.walk_together import MEASURED, Scans, Stays

DWELL_MS_MAX: Final = DWELL_SECONDS_MAX * 1000


class Tails(NamedTuple):
    """Which scans must be walked to tell the difference; whose scans do not say it (by their numbers)."""

    scans: Ints
    undecided: Ints


def tails(scans: Scans, changed: Bools, roots: Ints, *, since: int, upto: int) -> Tails:
    """From where on the stays with and without the `changed` scans must be walked, for everybody who has such.

    `scans` holds all that happened from `since` (ms) on and counts with or without them, in the walk's order; `roots`
    the outermost place around each. A scan changes only stays that end after it. And what was open before is over at a
    scan that comes the longest dwell after the one before it, and at one that enters another premises; so the walk from
    there gives the same stays as the walk of everything. But a stay whose limit passed by `upto` (ms) may be UNENDED
    there and end by dwell here, which nobody can tell apart any more.
    """
    rows = np.arange(len(scans.at))
    subjects = int(scans.subject.max(initial=-1)) + 1
    first = np.full(subjects, len(rows))
    news = np.flatnonzero(changed)[::-1]
    first[scans.subject[news]] = news  # of several the last that is written counts: the earliest scan
    concerned = first < len(rows)
    earliest = np.append(scans.at, 0)[first][scans.subject]
    follows = np.zeros(len(rows), dtype=np.bool_)
    follows[1:] = scans.subject[1:] == scans.subject[:-1]
    long_after = scans.at - np.where(follows, scans.at[rows - 1], since) >= DWELL_MS_MAX
    elsewhere = follows & scans.enters & (roots != roots[rows - 1])
    before = (elsewhere | long_after) & (scans.at < earliest)
    usable = np.flatnonzero(before | (long_after & (scans.at == earliest) & (scans.at <= upto)))
    begin = np.full(subjects, -1)
    begin[scans.subject[usable]] = usable  # the latest counts
    decided = concerned & (begin >= 0)
    needed = decided[scans.subject] & (rows >= begin[scans.subject])
    return Tails(np.flatnonzero(needed), np.flatnonzero(concerned & (begin < 0)))


def unchanged(old: Stays, new: Stays, scans: int) -> tuple[Ints, Ints]:
    """Which stays of the one are the very same in the other; `scans`: how many there are that prove any of them."""
    old_of = np.full(2 * scans, -1)
    old_of[_identity(old, scans)] = np.arange(len(old.start))
    same_old = old_of[_identity(new, scans)]
    same_new = np.flatnonzero(same_old >= 0)
    same_old = same_old[same_new]
    alike = (
        (old.start[same_old] == new.start[same_new])
        & (old.end[same_old] == new.end[same_new])
        & (old.exit[same_old] == new.exit[same_new])
        & (np.diff(old.first)[same_old] == np.diff(new.first)[same_new])
    )
    same_old, same_new = same_old[alike], same_new[alike]
    of_old, of_new = old.take(same_old), new.take(same_new)
    stay = np.repeat(np.arange(len(same_old)), np.diff(of_old.first))
    proved = np.ones(len(same_old), dtype=np.bool_)
    proved[stay[of_old.scans != of_new.scans]] = False
    return same_old[proved], same_new[proved]


def missing(known: Keys, keys: Keys) -> Ints:
    """Which of the `known` are not among the keys, each once."""
    if not len(known.start):
        return known.start
    both = known.joined(keys)
    later = np.arange(len(both.start)) >= len(known.start)
    order = np.lexsort((later, both.entry, both.start, both.place_hour, both.subject))
    ordered = both.take(order)
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = ~np.logical_and.reduce([column[1:] == column[:-1] for column in ordered])
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(order)) - 1
    found: Ints = order[firsts[~later[order[lasts]]]]
    return found


def others(which: Ints, count: int) -> Ints:
    """The numbers below `count` that are not among `which`."""
    return np.delete(np.arange(count), which)


def _identity(stays: Stays, scans: int) -> Ints:
    """A number below `2 * scans` for each stay: by the scan that opened it, or the one that had it imputed."""
    if not len(stays.start):
        return stays.start
    opening, imputing = stays.scans[stays.first[:-1]], stays.scans[stays.first[1:] - 1]
    return np.where(stays.entry == MEASURED, opening, scans + imputing)
