"""How the scans travel: numbered by their device, in batches, sent in time, late, twice, out of order."""

import random
from collections.abc import Iterator
from itertools import groupby
from typing import Final

import msgspec

from app.simulate.attendance import Attempt
from app.simulate.chance import chance
from app.simulate.plan import DAY_MS, HOUR_MS, MINUTE_MS, Plan

UPLOAD_EVERY_MS: Final = 120 * MINUTE_MS
"""A scanner on the net sends what it has every two hours. Real ones send at once, but a fortnight must pass here in a
minute, and a signed request costs the same whether it carries one scan or a hundred."""
BATCH_SCANS_MAX: Final = 400
BACKLOG_SCANS_MAX: Final = 50
"""After an outage in smaller pieces: the net is poor."""
OFFLINE_SHARE: Final = 0.12
OFFLINE_HOURS: Final = (2, 60)
NEWEST_FIRST_SHARE: Final = 0.4
SENT_TWICE_SHARE: Final = 0.03
OVERLAPS_SHARE: Final = 0.02
OVERLAP_SCANS_MAX: Final = 20


class Taken(msgspec.Struct, frozen=True, gc=False):
    """An attempt with the number that its device gave it."""

    seq: int
    attempt: Attempt


class Parcel(msgspec.Struct, frozen=True):
    """One batch of one device: `taken` by increasing seq. Parcels are sent in order of `sent` (Unix ms, simulated).

    `repeats` says how many of its scans were sent in an earlier parcel as well.
    """

    device: str
    sent: int
    taken: list[Taken]
    repeats: int = 0


def number_scans(attempts: list[Attempt]) -> dict[str, list[Taken]]:
    """Each device counts its scans from 1 in the order in which they happened."""
    ordered = sorted(attempts, key=lambda attempt: (attempt.device, attempt.at, str(attempt.who)))
    return {
        device: [Taken(seq, attempt) for seq, attempt in enumerate(group, 1)]
        for device, group in groupby(ordered, key=lambda attempt: attempt.device)
    }


def deliver(plan: Plan, taken: dict[str, list[Taken]]) -> list[Parcel]:
    """Every scan in at least one parcel, the parcels in the order of their sending."""
    parcels = [parcel for device, scans in taken.items() for parcel in _Uploads(plan, device).of(scans)]
    return sorted(parcels, key=lambda parcel: (parcel.sent, parcel.device, parcel.taken[0].seq))


class _Uploads:
    """One device's connection over the fortnight."""

    def __init__(self, plan: Plan, device: str) -> None:
        self._plan: Final = plan
        self._device: Final = device
        self._dice: Final[random.Random] = chance(plan.seed, "uploads", device)
        self._offline: Final = self._outage() if self._dice.random() < OFFLINE_SHARE else (0, 0)

    def of(self, scans: list[Taken]) -> list[Parcel]:
        parcels = [
            Parcel(self._device, sent, chunk)
            for sent, group in groupby(scans, key=lambda taken: self._sent(taken.attempt.at))
            for chunk in _chunks(list(group), BACKLOG_SCANS_MAX if sent == self._offline[1] else BATCH_SCANS_MAX)
        ]
        return list(self._repeated(self._shuffled(parcels)))

    def _outage(self) -> tuple[int, int]:
        start = self._plan.midnights[0] + int(self._dice.random() * self._plan.days * DAY_MS)
        return start, start + int(self._dice.uniform(*OFFLINE_HOURS) * HOUR_MS)

    def _sent(self, at: int) -> int:
        due = (at // UPLOAD_EVERY_MS + 1) * UPLOAD_EVERY_MS
        start, end = self._offline
        return end if start <= due < end else due

    def _shuffled(self, parcels: list[Parcel]) -> list[Parcel]:
        """After an outage some devices send what is newest first: a parcel's rank becomes its sending's ms."""
        backlog = [parcel for parcel in parcels if parcel.sent == self._offline[1]]
        if self._dice.random() < NEWEST_FIRST_SHARE:
            backlog.reverse()
        ranked = [msgspec.structs.replace(parcel, sent=parcel.sent + rank) for rank, parcel in enumerate(backlog)]
        return [parcel for parcel in parcels if parcel.sent != self._offline[1]] + ranked

    def _repeated(self, parcels: list[Parcel]) -> Iterator[Parcel]:
        """Answers get lost: a parcel goes out again whole, or the next one begins with the last scans of this."""
        for position, parcel in enumerate(parcels):
            draw = self._dice.random()
            if position and draw < OVERLAPS_SHARE and parcels[position - 1].sent < parcel.sent:
                tail = parcels[position - 1].taken[-OVERLAP_SCANS_MAX:]
                if tail[-1].seq < parcel.taken[0].seq:
                    yield Parcel(self._device, parcel.sent, tail + parcel.taken, repeats=len(tail))
                    continue
            yield parcel
            if draw > 1 - SENT_TWICE_SHARE:
                again = parcel.sent + int(self._dice.uniform(1, 90) * MINUTE_MS)
                yield Parcel(self._device, again, parcel.taken, repeats=len(parcel.taken))


def _chunks(scans: list[Taken], size: int) -> Iterator[list[Taken]]:
    for start in range(0, len(scans), size):
        yield scans[start : start + size]
