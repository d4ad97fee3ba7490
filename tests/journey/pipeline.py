"""The journey after the edge, step by step and in this process: stream, sink, log, projector, read models, trace."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import redis

from ingest.sink import Sink, SinkLimits
from projections.projector import Projector, ProjectorLimits
from storage.clickhouse import Store
from storage.partitions import ONLY
from storage.rebuilds import Rebuilds, RebuildStatus
from storage.stream import FrozenRange, ScanStream
from storage.watermarks import Watermarks
from tests.builders import entry, log_row
from tests.tracing.cases import CaseScan, WorkedCase, place_list
from tests.tracing.world import DEVICE_KEY, World, pseudonym
from tracing.answer import Tracer

Batch = Sequence[CaseScan]
"""Scans of one device that the stream takes in at one moment."""


class PastStream(ScanStream):
    """A stream whose server's clock is years ahead of the world's: what a commit promises by it does not hold there."""

    def __init__(self, valkey: "redis.Redis") -> None:
        super().__init__(valkey, owner="sink")
        self._valkey: Final = valkey

    def commit(self, frozen: FrozenRange, *, rows: int, size: int) -> int:
        super().commit(frozen, rows=rows, size=size)
        self._valkey.hset(self.partition.sink, "received", frozen.received)
        return frozen.received


class Pipeline:
    """One sink and one projector over an empty stream and an empty store; nothing moves unless it is told to."""

    def __init__(self, valkey: "redis.Redis", store: Store, case: WorkedCase, *, rows_max: int = 1_000_000) -> None:
        """`rows_max`: how many rows the projector folds in at a time."""
        self._redis: Final = valkey
        self._watermarks: Final = Watermarks(valkey)
        self._rebuilds: Final = Rebuilds(valkey)
        self._world: Final = World(store, place_list(case.places))
        self._sink: Final = Sink(
            stream=PastStream(valkey),
            store=store,
            watermarks=self._watermarks,
            limits=SinkLimits(idle_ms=1),
        )
        self.projector: Final = Projector(store, self._watermarks, self._rebuilds, ProjectorLimits(rows_max=rows_max))

    def post(self, batches: Iterable[Batch]) -> None:
        """The stream takes these in, in their order, each at its scans' `received`."""
        for batch in batches:
            (received,), (device,) = {scan.received for scan in batch}, {scan.device for scan in batch}
            rows = [self._row(scan) for scan in batch]
            payload = entry(self._world.device_number(device), rows, key=DEVICE_KEY)
            self._redis.xadd(ONLY.scans, {"e": payload}, id=f"{received}-*")

    def sink(self) -> None:
        """Lay what the stream holds into the log."""
        while self._redis.xlen(ONLY.scans):
            self._sink.step()

    def project(self) -> None:
        """Fold what the log holds into the read models."""
        while self.projector.step():
            pass

    def settle(self) -> None:
        """Nothing more will come: everything is in the read models, and they say so."""
        self.sink()
        self._sink.step()
        self.project()

    def rebuild(self, name: str) -> RebuildStatus:
        """Derive the read models anew, from beginning to end."""
        self._rebuilds.request(name)
        while self.projector.rebuild_step():
            pass
        status = self._rebuilds.status()
        assert status is not None
        return status

    def tracer(self) -> Tracer:
        """Asks these read models, and waits for them."""
        return self._world.tracer_awaiting(self._watermarks, seed=1)

    def _row(self, scan: CaseScan) -> bytes:
        return log_row(
            self._world.device_number(scan.device),
            scan.seq,
            scan.at,
            self._world.place_number(scan.place),
            bytes.fromhex(pseudonym(scan.subject)),
            scan.kind,
            DEVICE_KEY,
        )


def in_log_order(deliveries: Iterable[CaseScan]) -> list[CaseScan]:
    """Deliveries as a log can hold them: `received` never decreases, and deliveries of one scan keep their order.

    Where a later delivery claims to have been received before the first, it is received with the first.
    """
    latest: dict[tuple[str, int], int] = {}
    moved: list[CaseScan] = []
    for scan in deliveries:
        received = max(scan.received, latest.get((scan.device, scan.seq), scan.received))
        latest[scan.device, scan.seq] = received
        moved.append(msgspec.structs.replace(scan, received=received))
    return sorted(moved, key=lambda scan: scan.received)
