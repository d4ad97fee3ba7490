"""What `/readyz` says: the checks of a process by closed names, and what follows from them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Literal

import msgspec

from events import problems
from events.problems import Kind, Problem

Status = Literal["ready", "degraded", "unready"]


class CheckName(StrEnum):
    """What a process may need. Every process checks its own share of it."""

    STREAM = "stream"
    """The stream's server answers."""
    STREAM_DISK = "stream-disk"
    """It can write to its disk."""
    STREAM_MEMORY = "stream-memory"
    """It has memory left."""
    STREAM_ROOM = "stream-room"
    """Fewer bytes wait for the sink than may."""
    STORE = "store"
    """ClickHouse answers."""
    SINK = "sink"
    """The log keeps up with the stream."""
    PROJECTOR = "projector"
    """The read models keep up with the log."""
    KEYS = "keys"
    """The server's key file can be read, so that this process could start again."""
    DISK = "disk"
    """There is room where the embedded servers keep their data."""


PROBLEMS: Final[Mapping[CheckName, Kind]] = {
    CheckName.STREAM: problems.STREAM_DOWN,
    CheckName.STREAM_DISK: problems.STREAM_UNWRITABLE,
    CheckName.STREAM_MEMORY: problems.STREAM_OUT_OF_MEMORY,
    CheckName.STREAM_ROOM: problems.STREAM_FULL,
    CheckName.STORE: problems.STORE_DOWN,
    CheckName.SINK: problems.BEHIND,
    CheckName.PROJECTOR: problems.BEHIND,
}
"""The problem that a process answers `/readyz` with where this check is vital to it and fails."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold, as it was found.

    Where a `vital` one fails the process cannot do its work. `since`: Unix ms when `ok` became what it is.
    """

    name: CheckName
    ok: bool
    vital: bool
    detail: str = ""
    since: int = 0


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """A process that can do its work; `degraded` where one of its checks fails all the same."""

    status: Status
    checks: Sequence[Check]


class Unready(Problem, frozen=True, kw_only=True):
    """A process that cannot do its work: the problem of the first vital check that fails, and every check."""

    checks: Sequence[Check]


def status_of(checks: Sequence[Check]) -> Status:
    """Unready where a vital check fails, degraded where another does."""
    failing = [check for check in checks if not check.ok]
    if any(check.vital for check in failing):
        return "unready"
    return "degraded" if failing else "ready"


def unready(checks: Sequence[Check]) -> Unready | None:
    """Why the process is not ready; None where it is."""
    for check in checks:
        if check.vital and not check.ok:
            problem = PROBLEMS[check.name].problem(check.detail)
            return Unready(**msgspec.structs.asdict(problem), checks=checks)
    return None
