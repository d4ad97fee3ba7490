"""A batch as columns: of scans that name their subject by a code, an array for each field that judging needs."""

from collections.abc import Sequence
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.scans import KIND_NUMBER, Scan
from keys.codes import PERSON_HEAD_CHARS, person_heads

_KINDS: Final = {number: kind for kind, number in KIND_NUMBER.items()}
_KIND_NUMBER: Final = {kind.value: number for kind, number in KIND_NUMBER.items()}


class ScanColumns(msgspec.Struct, frozen=True):
    """Scans in the order of the batch.

    Shapes: `seq`, `at` (ms) and `kind` (numbers of `Kind`) are (n,); `heads` are the codes' texts without their
    signatures, `PERSON_HEAD_CHARS` ASCII bytes each.
    """

    seq: NDArray[np.uint64]
    at: NDArray[np.int64]
    kind: NDArray[np.int8]
    heads: bytes

    @classmethod
    def of(cls, scans: Sequence[Scan]) -> Self | None:
        """The columns of any scans; None where a code holds what is not ASCII.

        What cannot be a personal code is replaced by what is none either; fields that have no column are left out.
        """
        heads = person_heads([scan.code or "" for scan in scans])
        if heads is None:
            return None
        count = len(scans)
        return cls(
            np.fromiter([scan.seq for scan in scans], np.uint64, count),
            np.fromiter([scan.at for scan in scans], np.int64, count),
            np.fromiter([_KIND_NUMBER[scan.kind] for scan in scans], np.int8, count),
            heads,
        )

    def __len__(self) -> int:
        """The number of scans."""
        return len(self.seq)

    def seqs(self) -> list[int]:
        """The seqs, each once and ascending."""
        ascending = bool((self.seq[:-1] < self.seq[1:]).all())
        seqs: list[int] = (self.seq if ascending else np.unique(self.seq)).tolist()
        return seqs

    def scan(self, index: int) -> Scan:
        """One scan, where its fields are all that have a column."""
        text = self.heads[index * PERSON_HEAD_CHARS : (index + 1) * PERSON_HEAD_CHARS]
        return Scan(int(self.seq[index]), int(self.at[index]), _KINDS[int(self.kind[index])], text.decode("ascii"))
