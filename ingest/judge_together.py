"""Step 3 for what most batches are made of: scans of personal codes that are simply good, judged as columns.

`ingest.judge` knows every rule and every reason, at some microseconds a scan. This module knows only when a scan is
certainly good, at a fraction of that, and leaves all others to it. That both agree is a property that tests hold.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.scans import HOW_NUMBER, How
from ingest.columns import ScanColumns
from keys.codes import CodeOpener, OpenedCodes
from keys.keyring import Keyring
from keys.pseudonyms import PSEUDONYM_BYTES

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
        ("subject", "V", PSEUDONYM_BYTES),
        ("kind", "i1"),
        ("how", "i1"),
    ]
)
"""`events.scans.LOG_ROW` as columns."""

JUDGED_ALONE: Final = 0
"""Stands for the place of a scan that must be judged alone: places are numbered from 1."""


class Window(msgspec.Struct, frozen=True):
    """Between which times (ms, inclusive) a scan is taken, and by how much its code may be issued after it."""

    earliest: int
    latest: int
    ahead_ms: int


class Together(msgspec.Struct, frozen=True):
    """`rows[i]` is the packed `LOG_ROW` of scan i where `good[i]`, and means nothing elsewhere."""

    rows: NDArray[Any]
    good: NDArray[np.bool_]

    def alone(self) -> list[int]:
        """The scans that are not certainly good, by their index."""
        indices: list[int] = np.flatnonzero(~self.good).tolist()
        return indices

    def packed(self, others: Mapping[int, bytes]) -> bytes:
        """The rows of the good scans, and of those others that turned out to be good, in the batch's order."""
        if self.good.all():
            return self.rows.tobytes()
        rows, taken = self.rows.copy(), self.good.copy()
        for index, row in others.items():
            rows[index] = np.frombuffer(row, _ROW)[0]
            taken[index] = True
        return rows[taken].tobytes()


def judge_together(
    columns: ScanColumns,
    *,
    device: int,
    key: int,
    place: int | NDArray[np.uint32],
    keyring: Keyring,
    opener: CodeOpener,
    window: Window,
) -> Together | None:
    """Judge scans whose seqs differ and that came from `place`, or each from its own: (n,), with `JUDGED_ALONE`.

    None where nothing can be said of the batch as a whole: judge its scans one by one.
    """
    opened = opener.open_people(columns.heads)
    if opened is None:
        return None
    at = columns.at
    good = opened.good & (window.earliest <= at) & (at <= window.latest)
    good &= (opened.issued - window.ahead_ms <= at) & (at < opened.expires)
    _leave_out_revoked(good, opened, keyring)

    rows = np.zeros(len(columns), _ROW)
    rows["device"] = device
    rows["key"] = key
    rows["seq"] = columns.seq
    rows["at"] = at
    rows["place"] = place
    rows["subject"] = opened.subjects.view(_ROW["subject"])[:, 0]
    rows["kind"] = columns.kind
    rows["how"] = HOW_NUMBER[How.CODE]
    return Together(rows, good & (rows["place"] != JUDGED_ALONE))


def _leave_out_revoked(good: NDArray[np.bool_], opened: OpenedCodes, keyring: Keyring) -> None:
    """Clear what a revocation may concern: whether it does depends on when, which is judged one by one."""
    if not keyring.any_code_revoked:
        return
    codes, subjects = opened.codes.tobytes(), opened.subjects.tobytes()
    for index in np.flatnonzero(good).tolist():
        code, subject = codes[index * 12 : index * 12 + 12], subjects[index * 16 : index * 16 + 16]
        if keyring.may_be_revoked(code, subject):
            good[index] = False
