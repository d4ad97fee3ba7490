"""The walk of stays for many subjects at once, as columns; the same stays as `projections.stays.walk`, which judges it.

A scan that enters P decides with few scans after it what becomes of the stay there: scans at places strictly within P
are passed over, and the first other one ends the stay at its limit, is a re-scan, or ends it. So every such scan looks
for its next one, all of them a step at a time; most have found it after the first. Re-scans make chains, and a chain is
one stay, cut where it would last over a day. An `out` that ends no stay has one imputed. Pure.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from projections.places_together import Bools, Ints, PlaceTable
from projections.stays import STAY_MS_MAX

MEASURED: Final = 1
IMPUTED: Final = 2
"""How an entry is known, as the table of settled stays keeps it."""

GONE, EXIT_MEASURED, MOVED, DWELL, UNENDED = range(5)
"""How an exit is known, as the table of settled stays keeps it. GONE is no exit: such a stay is no more."""
_RESCANNED: Final = 5

AT_BITS_MAX: Final = 63


class Scans(NamedTuple):
    """Scans that count, as columns of one length.

    `subject`: any number ≥ 0 that names them; `at` Unix ms; `enters` is false for `out`; `device` and `place` are the
    registry's numbers.
    """

    subject: Ints
    at: Ints
    enters: Bools
    device: Ints
    seq: Ints
    place: Ints

    def take(self, which: "Ints | Bools") -> "Scans":
        """These rows of it."""
        return Scans(
            self.subject[which],
            self.at[which],
            self.enters[which],
            self.device[which],
            self.seq[which],
            self.place[which],
        )


class Stays(NamedTuple):
    """Stays as columns, those of a subject together, by the scan that began or proved them.

    `place` is the registry's number, `start` and `end` are Unix ms. `exit` is UNENDED where no scan ends the stay: then
    `end` is its limit. The scans that prove stay `n` are the rows `scans[first[n]:first[n + 1]]` of what was walked.
    """

    subject: Ints
    place: Ints
    start: Ints
    end: Ints
    entry: Ints
    exit: Ints
    first: Ints
    scans: Ints

    def take(self, which: "Ints | Bools") -> "Stays":
        """These of the stays, in this order."""
        counts = np.diff(self.first)[which]
        first = offsets(counts)
        scans = self.scans[np.repeat(self.first[:-1][which] - first[:-1], counts) + np.arange(first[-1])]
        return Stays(
            self.subject[which],
            self.place[which],
            self.start[which],
            self.end[which],
            self.entry[which],
            self.exit[which],
            first,
            scans,
        )

    def joined(self, others: "Stays") -> "Stays":
        """These stays and then the others, of the same scans."""
        return Stays(
            np.concatenate((self.subject, others.subject)),
            np.concatenate((self.place, others.place)),
            np.concatenate((self.start, others.start)),
            np.concatenate((self.end, others.end)),
            np.concatenate((self.entry, others.entry)),
            np.concatenate((self.exit, others.exit)),
            np.concatenate((self.first, self.first[-1] + others.first[1:])),
            np.concatenate((self.scans, others.scans)),
        )


def offsets(counts: Ints) -> Ints:
    """Where each of so many begins in a row of all, and where the last one ends."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)))


def in_order(scans: Scans, device_id: Callable[[int], str]) -> Scans:
    """The scans in the walk's order, each once: see `order_of`."""
    return scans.take(order_of(scans, device_id))


def order_of(scans: Scans, device_id: Callable[[int], str]) -> Ints:
    """Which rows make the walk's order, each scan once: by subject, time, `out` before the others, device id, seq.

    `device_id` gives a device's id by its number: it decides between scans of the same ms, which are few.
    """
    order = np.arange(len(scans.at))
    if not len(order):
        return order
    together = _one_key(scans)
    if (together[1:] < together[:-1]).any():
        order = np.argsort(together, kind="stable")
        together = together[order]
    equal = np.zeros(len(order) + 1, dtype=np.bool_)
    equal[1:-1] = together[1:] == together[:-1]
    tied = np.flatnonzero(equal[1:] | equal[:-1])
    if not len(tied):
        return order
    among = scans.take(order[tied])
    by_rank = np.lexsort((among.seq, _ranks(among.device, device_id), among.enters, together[tied]))
    order[tied] = order[tied][by_rank]
    among = among.take(by_rank)
    repeated = np.logical_and.reduce([column[1:] == column[:-1] for column in among])
    return np.delete(order, tied[1:][repeated])


def _one_key(scans: Scans) -> Ints:
    """Subject and time in one number that sorts as both do."""
    earliest, latest = int(scans.at.min()), int(scans.at.max())
    bits = (latest - earliest).bit_length()
    subjects = scans.subject
    if bits + int(subjects.max()).bit_length() > AT_BITS_MAX:
        subjects = np.unique(subjects, return_inverse=True)[1].astype(np.int64)
    return (subjects << bits) + (scans.at - earliest)


def _ranks(devices: Ints, device_id: Callable[[int], str]) -> Ints:
    numbers, which = np.unique(devices, return_inverse=True)
    ids = [device_id(int(number)) for number in numbers]
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    return ranks[which]


def walk_together(scans: Scans, places: PlaceTable) -> Stays:
    """The stays of every subject, as no later moment would have it: what only time ends is UNENDED.

    `scans` are in the walk's order (`in_order`), and `places` has all their places.
    """
    rows = places.rows(scans.place)
    dwell = places.dwell_ms[rows]
    after, how = _what_comes(scans, rows, dwell, places)
    opened, openers, ends = _opened(scans, dwell, after, how)
    missed = ~scans.enters
    missed[ends] = False
    outs = np.flatnonzero(missed)
    both = opened.joined(_imputed(scans, dwell, outs))
    lasting = np.flatnonzero(both.start < both.end)
    return both.take(lasting[np.argsort(np.concatenate((openers, outs))[lasting], kind="stable")])


def _what_comes(scans: Scans, rows: Ints, dwell: Ints, places: PlaceTable) -> tuple[Ints, Ints]:
    """For each scan that enters: which scan decides about the stay there (-1: none), and how.

    That is _RESCANNED or how the stay ends, if it did not last over a day: DWELL where that scan comes too late.
    """
    count = len(scans.at)
    after, how = np.full(count, -1), np.full(count, UNENDED)
    subjects = np.append(scans.subject, -1)  # after the last scan comes nobody's
    looking = np.flatnonzero(scans.enters)
    at = looking + 1
    while len(looking):
        same = subjects[at] == scans.subject[looking]
        looking, at = looking[same], at[same]
        place, there = rows[looking], rows[at]
        late = scans.at[at] >= scans.at[looking] + dwell[looking]
        here = there == place
        inside = ~late & ~here & places.within(there, place)
        found = np.where(late, DWELL, np.where(here, np.where(scans.enters[at], _RESCANNED, EXIT_MEASURED), MOVED))
        decided = ~inside
        how[looking[decided]], after[looking[decided]] = found[decided], at[decided]
        looking, at = looking[inside], at[inside] + 1
    return after, how


def _chains(scans: Scans, after: Ints, how: Ints) -> tuple[Ints, Ints, Ints]:
    """For each scan that enters: which one opened its stay, how many of the stay come before it; for each one that
    opens a stay: the last one that enters it.

    A re-scan that comes when the stay has lasted a day opens another.
    """
    opener = np.arange(len(scans.at))
    last, ordinal = opener.copy(), np.zeros(len(scans.at), dtype=np.int64)
    rescanned = how == _RESCANNED
    heads = rescanned.copy()
    heads[after[rescanned]] = False
    scan = np.flatnonzero(heads)
    first = scan
    while len(scan):
        again = after[scan]
        over = scans.at[again] >= scans.at[first] + STAY_MS_MAX
        first = np.where(over, again, first)
        opener[again], last[first] = first, again
        ordinal[again] = np.where(over, 0, ordinal[scan] + 1)
        more = rescanned[again]
        scan, first = again[more], first[more]
    return opener, ordinal, last


def _opened(scans: Scans, dwell: Ints, after: Ints, how: Ints) -> tuple[Stays, Ints, Ints]:
    """The stays that an entry opened, some of no length; the scans that opened them; every `out` that ended one."""
    opener, ordinal, last = _chains(scans, after, how)
    opens = np.flatnonzero(scans.enters & (opener == np.arange(len(scans.at))))
    lasts = last[opens]
    limit = np.minimum(scans.at[lasts] + dwell[lasts], scans.at[opens] + STAY_MS_MAX)
    exits, ender = how[lasts], after[lasts]
    by_scan = ((exits == EXIT_MEASURED) | (exits == MOVED)) & (scans.at[ender] < limit)
    first = offsets(ordinal[lasts] + 1 + by_scan)
    proving = np.empty(first[-1], dtype=np.int64)
    entering = np.flatnonzero(scans.enters)
    begins = np.empty(len(scans.at), dtype=np.int64)
    begins[opens] = first[:-1]
    proving[begins[opener[entering]] + ordinal[entering]] = entering
    proving[first[1:][by_scan] - 1] = ender[by_scan]
    stays = Stays(
        subject=scans.subject[opens],
        place=scans.place[opens],
        start=scans.at[opens],
        end=np.where(by_scan, scans.at[ender], limit),
        entry=np.full(len(opens), MEASURED, dtype=np.int64),
        exit=np.where(by_scan | (exits == UNENDED), exits, DWELL),
        first=first,
        scans=proving,
    )
    return stays, opens, ender[by_scan & (exits == EXIT_MEASURED)]


def _imputed(scans: Scans, dwell: Ints, outs: Ints) -> Stays:
    """The stays that these scans ended and whose entry nobody scanned; the scan before each may bound its start."""
    before = outs - 1
    known = (before >= 0) & (scans.subject[before] == scans.subject[outs])
    earliest = scans.at[outs] - dwell[outs]
    bounds = known & (scans.at[before] > earliest)
    first = offsets(1 + bounds)
    proving = np.empty(first[-1], dtype=np.int64)
    proving[first[1:] - 1] = outs
    proving[first[:-1][bounds]] = before[bounds]
    return Stays(
        subject=scans.subject[outs],
        place=scans.place[outs],
        start=np.where(bounds, scans.at[before], earliest),
        end=scans.at[outs],
        entry=np.full(len(outs), IMPUTED, dtype=np.int64),
        exit=np.full(len(outs), EXIT_MEASURED, dtype=np.int64),
        first=first,
        scans=proving,
    )
