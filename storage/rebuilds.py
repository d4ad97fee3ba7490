"""Where a rebuild of the read models is asked for, and how it is told of."""

from typing import Literal

import msgspec
import redis

from storage.errands import Errands


class ModelDigests(msgspec.Struct, frozen=True):
    """One read model before and after: rows and digests as of the same moment of the log."""

    table: str
    rows_live: int
    rows_rebuilt: int
    digest_live: str
    digest_rebuilt: str

    @property
    def equal(self) -> bool:
        """Whether the rebuild gave the very same rows."""
        return self.digest_live == self.digest_rebuilt and self.rows_live == self.rows_rebuilt


class RebuildStatus(msgspec.Struct, frozen=True):
    """How far a rebuild is. `rows_done` of `rows_total` scans; `models` once it is done; `upto` is received ms."""

    id: str
    state: Literal["running", "done"]
    rows_done: int
    rows_total: int
    upto: int = 0
    models: list[ModelDigests] = []


class Rebuilds(Errands[RebuildStatus]):
    """Rebuilds of the read models, asked of the projecting process."""

    def __init__(self, client: "redis.Redis") -> None:
        super().__init__(client, "rebuild", RebuildStatus)
