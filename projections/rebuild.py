"""Derives the read models anew beside the live ones, compares the two, and puts the new ones in their place.

Goes on in steps between the projector's own, so that new scans are folded in while it runs; the settler derives stays
from the new scans, as of its mark; the last step compares both as of the same moment of the log, and exchanges the
tables in one move each.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final, Literal, Protocol

from projections.deliveries import Deliveries
from projections.model import REBUILD_SUFFIX, Digest, ReadModel, project_all
from projections.scans_by_subject import SCANS_BY_SUBJECT
from projections.settler import NEW_STAYS, RebuildOrder, Settler
from projections.spans import span_end, span_rows
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR, digest
from storage.clickhouse import Store
from storage.errors import StoreDown
from storage.rebuilds import ModelDigests, RebuildStatus

STAYS_WAIT_SECONDS: Final = 0.2
"""So long a step waits for stays at most: new scans go on being folded in."""


class Rebuild:
    """One rebuild, from an empty table to the exchange. A rebuild that died is begun again."""

    def __init__(
        self,
        id: str,
        store: Store,
        models: Sequence[ReadModel],
        rows_max: int,
        *,
        hand: Executor,
        kept_from: Callable[[], int] = lambda: 0,
        settler: Settler | None = None,
    ) -> None:
        """`hand` fills one table while this thread fills another. `kept_from` asks since when (ms) scans are kept: what
        happened before may be gone on either side.

        `settler` derives the stays; without one they are left as they are.
        """
        self._settler: Final = settler
        self._hand: Final = hand
        self._order: RebuildOrder | None = None
        self._id: Final = id
        self._kept_from: Final = kept_from
        self._began_from: Final = kept_from()
        """What happened before is not put back, though the log may still have some of it: what came in late."""
        self._store: Final = store
        self._models: Final = models
        self._rows_max: Final = rows_max
        self._rows_done = 0
        self._reached = 0
        for model in models:
            store.define(f"DROP TABLE IF EXISTS {model.table}{REBUILD_SUFFIX} SYNC")
            store.define(f"CREATE TABLE {model.table}{REBUILD_SUFFIX} AS {model.table}")
        self._tables: Final = self._new_tables()
        self._deliveries: Final = Deliveries(store)

    def step(self, live: int) -> RebuildStatus:
        """Fold in the next span up to `live`, the received (ms) that the live models have reached.

        Raises `StoreDown`, also where another process has begun a rebuild of its own: what it has emptied must not be
        put in the live tables' place.
        """
        upto = span_end(self._store, self._reached, live, self._rows_max)
        span = self._deliveries.span(self._reached, upto)
        if span.rows:
            into = [(model, model.table + REBUILD_SUFFIX) for model in self._models]
            project_all(self._store, into, span, self._hand, kept_from=self._began_from)
        self._deliveries.take(span)
        self._reached = upto
        self._rows_done += span.rows
        if upto < live:
            total = self._rows_done + span_rows(self._store, upto, live)
            return self._status("running", total, upto)
        if not self._settled():
            return self._status("running", self._rows_done, upto)
        kept_from = self._kept_from()
        digests = [
            _compared(model.table, functools.partial(model.digest, self._store, upto=live, kept_from=kept_from))
            for model in self._models
        ]
        if self._new_tables() != self._tables:
            raise StoreDown("another process rebuilds the read models as well: let only one project")
        tables = [(model.table, model.table + REBUILD_SUFFIX) for model in self._models]
        if self._order is not None and self._order.mark is not None:
            of_stays = functools.partial(digest, self._store, upto=self._order.mark.received)
            digests.append(_compared(STAYS_BY_PLACE_HOUR, of_stays))
            tables.append((STAYS_BY_PLACE_HOUR, NEW_STAYS))
        for table, new in tables:
            self._store.define(f"EXCHANGE TABLES {table} AND {new}")
            self._store.define(f"DROP TABLE {new} SYNC")
        return self._status("done", self._rows_done, live, digests)

    def _settled(self) -> bool:
        """Whether the stays are there; they are asked for once the new scans have caught up."""
        if self._settler is None:
            return True
        if self._order is None:
            self._order = self._settler.rebuild(SCANS_BY_SUBJECT.table + REBUILD_SUFFIX)
        return self._order.done.wait(STAYS_WAIT_SECONDS)

    def _status(
        self, state: Literal["running", "done"], rows: int, upto: int, models: Sequence[ModelDigests] = ()
    ) -> RebuildStatus:
        """A scan counts half as it is folded in, and half as it is walked, where stays are derived, too."""
        done = self._rows_done
        if state == "running" and self._settler is not None:
            walked = 0 if self._order is None else min(self._order.scans_done, rows)
            done = (done + walked) // 2
        return RebuildStatus(self._id, state, done, rows, upto, list(models))

    def _new_tables(self) -> list[str]:
        """What the engine calls the tables that are being filled: another name for each that is made."""
        names = [model.table + REBUILD_SUFFIX for model in self._models]
        rows = self._store.rows(
            "SELECT toString(uuid) FROM system.tables"
            " WHERE database = currentDatabase() AND name IN {names:Array(String)} ORDER BY name",
            {"names": names},
        )
        return [uuid for (uuid,) in rows]


class _DigestOf(Protocol):
    def __call__(self, table: str, *, final: bool) -> Digest: ...


def _compared(table: str, digest_of: _DigestOf) -> ModelDigests:
    """The digests of a table and of the rebuilt one.

    Where the rows are the same as they lie, so is what they come to. Only where they are not, because a step was
    repeated, a stay changed, or something is wrong, are they read as the engine will merge them, which takes long.
    """
    for final in (False, True):
        live, rebuilt = digest_of(table, final=final), digest_of(table + REBUILD_SUFFIX, final=final)
        if live == rebuilt:
            break
    return ModelDigests(table, live.rows, rebuilt.rows, live.hash, rebuilt.hash)
