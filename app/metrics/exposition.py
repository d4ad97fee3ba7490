"""The text that Prometheus scrapes: of one process, or of all the workers that share a port.

Workers share a directory (`PROMETHEUS_MULTIPROC_DIR`, which their supervisor sets before they start, because
prometheus_client reads it while it is imported), so that whichever answers `/metrics` speaks for all.
"""

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_GAUGE: Final = re.compile(r"gauge_live[a-z]*_([0-9]+)\.db")


class _Counters(MultiProcessCollector):
    """What all workers have counted, but for one that begins its file at this moment, or died when it did."""

    def collect(self) -> Iterable[Metric]:
        """The workers' metrics, each once."""
        begun = [str(file) for file in Path(self._path).glob("*.db") if _size(file)]
        merged: Iterable[Metric] = self.merge(begun, accumulate=True)  # type: ignore[no-untyped-call]
        return merged


def workers_text(directory: Path, own: Iterable[Collector]) -> bytes:
    """What all workers counted together, and what the `own` collectors of the one that answers say."""
    live_workers(directory)
    shared = CollectorRegistry()
    _Counters(shared, path=str(directory))  # type: ignore[no-untyped-call]
    for collector in own:
        shared.register(collector)
    return generate_latest(shared)


def live_workers(directory: Path) -> set[int]:
    """The pids of the workers that run. Forgets the gauges of those that have ended; what they counted stays."""
    pids = {int(file[1]) for path in directory.iterdir() if (file := _LIVE_GAUGE.fullmatch(path.name))}
    dead = {pid for pid in pids if not _runs(pid)}
    for pid in dead:
        with contextlib.suppress(FileNotFoundError):  # another worker is at it too
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
    return pids - dead


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # its worker has ended
        return 0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
