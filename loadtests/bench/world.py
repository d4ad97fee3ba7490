"""The world that the load comes from: what each device scanned under each seq, as a pure function of the two.

So the load needs no record of what was sent: the check recomputes it, a whole device at a time. Scans are drawn
with the finaliser of SplitMix64 (Steele, Lea, Flood 2014), which numpy computes for an array at once.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.devices import Device
from events.places import Place
from events.scans import KIND_NUMBER, Kind

Uints = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

SPAN_MS: Final = 8 * 3_600_000
"""The time that the scans are spread over, the last of them when the world ends: a long outage."""
KINDS: Final = np.array(
    [KIND_NUMBER[kind] for kind in (Kind.IN, Kind.OUT, Kind.IN, Kind.OUT, Kind.IN, Kind.OUT, Kind.IN, Kind.PASS)],
    dtype=np.uint8,
)
"""Kinds by the lowest bits of a draw: entries, exits, and a checkpoint now and then."""

_SEQ_BITS: Final = np.uint64(32)
_PEOPLE: Final = np.uint64(0x70656F706C65)
_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31))
_FACTORS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)


class Scans(msgspec.Struct, frozen=True):
    """Scans of one device in columns: counter, Unix ms, number of `Kind`, index of the person."""

    seq: Uints
    at: Uints
    kind: Bytes
    person: Uints


class World(msgspec.Struct, frozen=True, kw_only=True):
    """`devices` scanners, one at each of as many places, and `people` with a personal code.

    The scans of a device begin at seq 1 and at `start_ms`, and are `step_ms` apart on average.
    """

    seed: int
    devices: int
    people: int
    start_ms: int
    step_ms: int

    def device(self, index: int) -> Device:
        """The scanner of this index, with the registry's number of it and its place."""
        return Device(id=_name(index), number=index + 1, place=_name(index))

    def place(self, index: int) -> Place:
        """The scanner's place."""
        return Place(id=_name(index), number=index + 1, name=_name(index))

    def key_seed(self, index: int) -> bytes:
        """The seed of the scanner's Ed25519 key."""
        base = np.uint64(self.seed) + np.uint64(index << 3) + np.arange(4, dtype=np.uint64)
        return mixed(mixed(base)).tobytes()

    def subjects(self) -> Bytes:
        """The pseudonyms by a person's index: `people` rows of 16 bytes."""
        index = np.arange(self.people, dtype=np.uint64)
        low = mixed(index + (np.uint64(self.seed) ^ _PEOPLE))
        return np.stack([low, mixed(low)], axis=1).view(np.uint8).reshape(self.people, 16)

    def scans(self, index: int, seqs: Uints) -> Scans:
        """What the scanner of this index scanned under these seqs."""
        draw = mixed((np.uint64(index + 1) << _SEQ_BITS) + seqs + mixed(np.array([self.seed], dtype=np.uint64)))
        step = np.uint64(self.step_ms)
        return Scans(
            seq=seqs,
            at=np.uint64(self.start_ms) + seqs * step + (draw >> _SEQ_BITS) % step,
            kind=KINDS[(draw & np.uint64(len(KINDS) - 1)).astype(np.intp)],
            person=(draw >> np.uint64(8)) % np.uint64(self.people),
        )


def new_world(*, seed: int, devices: int, people: int, scans: int, now_ms: int) -> World:
    """A world in which every device has time for its share of `scans` before now."""
    share = max(scans // devices, 1)
    return World(
        seed=seed, devices=devices, people=people, start_ms=now_ms - SPAN_MS, step_ms=max(SPAN_MS // (2 * share), 1)
    )


def mixed(values: Uints) -> Uints:
    """Each number as another one that looks random, and no two as the same."""
    values = values + _STEP
    values = (values ^ (values >> _SHIFTS[0])) * _FACTORS[0]
    values = (values ^ (values >> _SHIFTS[1])) * _FACTORS[1]
    return values ^ (values >> _SHIFTS[2])


def seqs(first: int, count: int) -> Uints:
    """`count` consecutive counters from `first` on."""
    return np.arange(first, first + count, dtype=np.uint64)


def _name(index: int) -> str:
    return f"scanner-{index + 1}"
