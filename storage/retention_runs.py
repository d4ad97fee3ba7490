"""Where a run of retention is asked for, and how it is told of."""

from typing import Literal

import msgspec
import redis

from storage.errands import Errands


class RetentionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is, and what it has let go so far. Times in Unix ms.

    `id` is the request's, empty where nobody asked. `held` are days of the log that stay for now although their time is
    over, for they hold scans that claim to have happened later. `detail` says why a run `failed`.
    """

    id: str
    state: Literal["running", "done", "failed"]
    step: str
    began: int
    ended: int | None = None
    kept_from: int = 0
    partitions: int = 0
    rows: int = 0
    bytes: int = 0
    traces: int = 0
    held: tuple[str, ...] = ()
    detail: str = ""


class RetentionRuns(Errands[RetentionStatus]):
    """Runs of retention, asked of the process that keeps the read models."""

    def __init__(self, client: "redis.Redis") -> None:
        super().__init__(client, "retention", RetentionStatus)
