"""Step 3 for what most batches are made of: scans of personal codes that are simply good, judged as columns.

`ingest.judge` knows every rule and every reason, at some microseconds a scan. This module knows only when a scan is
certainly good, at a fraction of that, and leaves all others to it. That both agree is a property that tests hold.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.scans import HOW_NUMBER, KIND_NUMBER, How, Scan
from keys.codes import CodeOpener, OpenedCodes
from keys.keyring import Keyring

TOGETHER_SCANS_MIN: Final = 24
"""Below, arrays cost more than they save."""

_ROW: Final = np.dtype(
    [
        ("device", "<u4"),
        ("key", "<u2"),
        ("seq", "<u8"),
        ("at", "<i8"),
        ("received", "<i8"),
        ("place", "<u4"),
        ("subject", "u1", 16),
        ("kind", "i1"),
        ("how", "i1"),
    ]
)
"""`events.scans.LOG_ROW` as columns."""

_KIND_NUMBER: Final = {kind.value: number for kind, number in KIND_NUMBER.items()}
_NO_PLACE: Final = 0
"""Stands for a sub-place that the device may not name: places are numbered from 1."""


class Window(msgspec.Struct, frozen=True):
    """Between which times (ms, inclusive) a scan is taken, and by how much its code may be issued after it."""

    earliest: int
    latest: int
    ahead_ms: int


class Together(msgspec.Struct, frozen=True):
    """`rows[i]` is the packed `LOG_ROW` of scan i where `good[i]`, and means nothing elsewhere."""

    rows: NDArray[Any]
    good: NDArray[np.bool_]

    def row(self, index: int) -> bytes | None:
        """The row of one scan, or None where it is not certainly good."""
        return self.rows[index].tobytes() if self.good[index] else None


def judge_together(
    scans: Sequence[Scan],
    *,
    device: int,
    key: int,
    place: int,
    sub_places: Mapping[str, int],
    keyring: Keyring,
    opener: CodeOpener,
    window: Window,
) -> Together | None:
    """Judge the scans of a device that serves `place`. The seqs must differ.

    `sub_places` gives the number of each place id that the scans name and the device may narrow to. None where
    nothing can be said of the batch as a whole: judge its scans one by one.
    """
    count = len(scans)
    texts = [scan.code for scan in scans]
    if None in texts:
        texts = [text or "" for text in texts]
    opened = opener.open_people(texts)  # type: ignore[arg-type]
    if opened is None:
        return None
    at = np.fromiter([scan.at for scan in scans], np.int64, count)
    good = opened.good & (window.earliest <= at) & (at <= window.latest)
    good &= (opened.issued - window.ahead_ms <= at) & (at < opened.expires)
    good &= ~_named_otherwise(scans)
    _leave_out_revoked(good, opened, keyring)

    rows = np.zeros(count, _ROW)
    rows["device"] = device
    rows["key"] = key
    rows["seq"] = np.fromiter([scan.seq for scan in scans], np.uint64, count)
    rows["at"] = at
    rows["place"] = place
    rows["subject"] = opened.subjects
    rows["kind"] = np.fromiter([_KIND_NUMBER[scan.kind] for scan in scans], np.int8, count)
    rows["how"] = HOW_NUMBER[How.CODE]
    places = [scan.place for scan in scans]
    if places.count(None) != count:
        numbers = np.fromiter(
            [place if one is None else sub_places.get(one, _NO_PLACE) for one in places], np.uint32, count
        )
        rows["place"] = numbers
        good &= numbers != _NO_PLACE
    return Together(rows, good)


def _named_otherwise(scans: Sequence[Scan]) -> NDArray[np.bool_]:
    """Which scans name a subject by anything but a code, or a place by the code on the wall."""
    count = len(scans)
    named = np.zeros(count, np.bool_)
    for column in (
        [scan.cccd for scan in scans],
        [scan.subject for scan in scans],
        [scan.place_code for scan in scans],
    ):
        if column.count(None) != count:
            named |= np.fromiter([value is not None for value in column], np.bool_, count)
    return named


def _leave_out_revoked(good: NDArray[np.bool_], opened: OpenedCodes, keyring: Keyring) -> None:
    """Clear what a revocation may concern: whether it does depends on when, which is judged one by one."""
    if not keyring.any_code_revoked:
        return
    codes, subjects = opened.codes.tobytes(), opened.subjects.tobytes()
    for index in np.flatnonzero(good).tolist():
        code, subject = codes[index * 12 : index * 12 + 12], subjects[index * 16 : index * 16 + 16]
        if keyring.may_be_revoked(code, subject):
            good[index] = False
