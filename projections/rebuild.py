"""Derives the read models anew beside the live ones, compares the two, and puts the new ones in their place.

Goes on in steps between the projector's own, so that new scans are folded in while it runs; the last step
compares both as of the same moment of the log, and exchanges the tables in one move each.
"""

from collections.abc import Sequence
from typing import Final

from projections.deliveries import Deliveries
from projections.model import REBUILD_SUFFIX, ReadModel
from projections.spans import span_end, span_rows
from storage.clickhouse import Store
from storage.errors import StoreDown
from storage.rebuilds import ModelDigests, RebuildStatus


class Rebuild:
    """One rebuild, from an empty table to the exchange. A rebuild that died is begun again."""

    def __init__(self, id: str, store: Store, models: Sequence[ReadModel], rows_max: int) -> None:
        self._id: Final = id
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
            for model in self._models:
                model.project(self._store, model.table + REBUILD_SUFFIX, span)
        self._deliveries.take(span)
        self._reached = upto
        self._rows_done += span.rows
        if upto < live:
            total = self._rows_done + span_rows(self._store, upto, live)
            return RebuildStatus(self._id, "running", self._rows_done, total, upto)
        digests = [self._compare(model, live) for model in self._models]
        if self._new_tables() != self._tables:
            raise StoreDown("another process rebuilds the read models as well: let only one project")
        for model in self._models:
            self._store.define(f"EXCHANGE TABLES {model.table} AND {model.table}{REBUILD_SUFFIX}")
            self._store.define(f"DROP TABLE {model.table}{REBUILD_SUFFIX} SYNC")
        return RebuildStatus(self._id, "done", self._rows_done, self._rows_done, live, digests)

    def _new_tables(self) -> list[str]:
        """What the engine calls the tables that are being filled: another name for each that is made."""
        names = [model.table + REBUILD_SUFFIX for model in self._models]
        rows = self._store.rows(
            "SELECT toString(uuid) FROM system.tables"
            " WHERE database = currentDatabase() AND name IN {names:Array(String)} ORDER BY name",
            {"names": names},
        )
        return [uuid for (uuid,) in rows]

    def _compare(self, model: ReadModel, upto: int) -> ModelDigests:
        live = model.digest(self._store, model.table, upto=upto)
        rebuilt = model.digest(self._store, model.table + REBUILD_SUFFIX, upto=upto)
        return ModelDigests(model.table, live.rows, rebuilt.rows, live.hash, rebuilt.hash)
