"""How much one answer may look at and hold: so much at once, more as a job."""

from typing import Final

import msgspec


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """`subjects`: people whose scans are read and walked. At each depth, `stays`: settled stays of others that are
    read; `stays_expected`: how many are to be expected by those read so far; `encounters`: those told of as evidence.
    """

    subjects: int
    stays: int
    stays_expected: int
    encounters: int


AT_ONCE: Final = Bounds(subjects=100_000, stays=2_000_000, stays_expected=2**62, encounters=100_000)
"""Some seconds, some hundred MB, and an answer of up to 50 MB."""
ELSE_AS_JOB: Final = msgspec.structs.replace(AT_ONCE, stays_expected=3_000_000)
"""The same where a job takes over: an expectation that is wrong does no harm, and one that is right saves seconds."""
INDEX_SUBJECTS_AT_ONCE: Final = 5_000
"""A question about more is a job from the start: that it becomes one would only be found out after some seconds."""
AS_JOB: Final = Bounds(subjects=1_000_000, stays=20_000_000, stays_expected=2**62, encounters=1_000_000)
"""Some minutes and some GB, of which one job at a time has need."""
