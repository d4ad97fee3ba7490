"""Reads the scans of many subjects as columns, in the walk's order."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from projections.places_together import Bools, Ints
from projections.walk_together import Scans, order_of
from storage.clickhouse import Store

SUBJECT_BYTES: Final = 16
SUBJECTS_NAMED_MAX: Final = 2_000
"""So many subjects are named in one statement."""

IN_RANGE: Final = "subject BETWEEN toFixedString(unhex({low:String}), 16) AND toFixedString(unhex({high:String}), 16)"
EVERYBODY: Final = {"low": "00" * SUBJECT_BYTES, "high": "ff" * SUBJECT_BYTES}
NAMED: Final = "subject IN (SELECT toFixedString(unhex(arrayJoin({subjects:Array(String)})), 16))"
ALONE: Final = "subject = toFixedString(unhex({subject:String}), 16)"
"""The same for one subject, which is planned in two thirds of the time."""


class SubjectScans(NamedTuple):
    """Scans in the walk's order, each once; `scans.subject` is an index into `subjects`, which are in order."""

    subjects: NDArray[np.bytes_]
    scans: Scans
    key: Ints
    received: Ints

    def take(self, which: "Ints | Bools") -> "SubjectScans":
        """These of the scans."""
        return SubjectScans(self.subjects, self.scans.take(which), self.key[which], self.received[which])

    def counted(self, upto: int, revocations: Mapping[tuple[int, int], int]) -> Bools:
        """Which of them were received by `upto` (ms) and are not quarantined by these revocations.

        Revocations: (device number, key) → from when (ms of the log's clock).
        """
        counted = self.received <= upto
        if revocations:
            held = sorted(((device << 16) + key, revoked_from) for (device, key), revoked_from in revocations.items())
            codes, since = np.array(held, dtype=np.int64).T
            code = (self.scans.device << 16) + self.key
            found = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
            counted &= (codes[found] != code) | (self.received < since[found])
        return counted


def read_scans(
    store: Store, table: str, where: str, parameters: Mapping[str, Any], device_id: Callable[[int], str]
) -> SubjectScans:
    """The scans for which a condition holds. Raises `StoreDown`."""
    answer = store.columns(
        "SELECT subject, at, (kind != 'out')::UInt8 AS enters, device, seq, key, place, received"
        f" FROM {table} WHERE {where} ORDER BY subject, at",
        parameters,
    )
    if not len(answer):
        none = np.empty(0, dtype=np.int64)
        scans = Scans(none, none, none.astype(np.bool_), none, none, none)
        return SubjectScans(np.empty(0, dtype=f"S{SUBJECT_BYTES}"), scans, none, none)
    subject = answer["subject"]
    first = np.flatnonzero(np.append(True, subject[1:] != subject[:-1]))
    number = np.repeat(np.arange(len(first)), np.diff(first, append=len(subject)))
    scans = Scans(
        number,
        answer["at"].astype(np.int64),
        answer["enters"].astype(np.bool_),
        answer["device"].astype(np.int64),
        answer["seq"].astype(np.int64),
        answer["place"].astype(np.int64),
    )
    order = order_of(scans, device_id)
    return SubjectScans(
        subject[first], scans.take(order), answer["key"].astype(np.int64)[order], answer["received"][order]
    )


def subject_ranges(count: int, rows: int) -> Iterator[dict[str, str]]:
    """Ranges of subjects of about so many rows each, if `count` rows are to be read: values for `IN_RANGE`.

    Pseudonyms are keyed hashes, so that equal ranges of them hold equally many.
    """
    portions = max(1, -(-count // rows))
    bounds = [(portion << 8 * SUBJECT_BYTES) // portions for portion in range(portions + 1)]
    for low, high in itertools.pairwise(bounds):
        yield {"low": _hex(low), "high": _hex(high - 1)}


def named(subjects: Sequence[bytes]) -> Iterator[dict[str, list[str]]]:
    """Some subjects, as many at a time as one statement may name: values for `NAMED`."""
    for start in range(0, len(subjects), SUBJECTS_NAMED_MAX):
        yield {
            "subjects": [subject.ljust(SUBJECT_BYTES, b"\0").hex() for subject in subjects[start:][:SUBJECTS_NAMED_MAX]]
        }


def _hex(number: int) -> str:
    return number.to_bytes(SUBJECT_BYTES).hex()
