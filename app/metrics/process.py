"""What every process says of itself: which it is, since when it runs, whether it is ready, what it takes of memory."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from events.control import Recorded
from events.readiness import Check

READY: Final = "ready"
"""The gauge's reason where nothing speaks against it."""
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

Look = Callable[[], Sequence[Check]]


def begin(process: str, registry: CollectorRegistry) -> None:
    """Say since when the process runs; of several workers, the one started last."""
    Gauge(
        "truyvet_start_time_seconds",
        "When this process was started; of several workers, the last",
        ["process"],
        multiprocess_mode="livemax",
        registry=registry,
    ).labels(process).set(time.time())


class ControlMetrics:
    """How far a process has followed the control stream; of several workers, the one that is furthest behind."""

    def __init__(self, process: str, registry: CollectorRegistry) -> None:
        self._applied: Final = Gauge(
            "truyvet_control_applied_timestamp_seconds",
            "When the latest event of the control stream that this process knows was recorded",
            ["process"],
            multiprocess_mode="livemin",
            registry=registry,
        ).labels(process)

    def on_control(self, recorded: Recorded) -> None:
        """The process has applied an event of the control stream."""
        self._applied.set(recorded.at / 1000)


class ConditionCollector(Collector):
    """The process's condition at the moment of the scrape."""

    def __init__(self, process: str, look: Look, pids: Callable[[], Iterable[int]]) -> None:
        """`look` gives the checks of `/readyz` and never waits long; `pids` the process's own, or all workers'."""
        self._process: Final = process
        self._look: Final = look
        self._pids: Final = pids

    def collect(self) -> Iterable[Metric]:
        """Build, readiness with its reason, every check, and memory."""
        build = GaugeMetricFamily(
            "truyvet_build_info", "Always 1; the labels say what runs", labels=["process", "version", "python"]
        )
        build.add_metric([self._process, version("truyvet"), platform.python_version()], 1)
        yield build
        checks = self._look()
        lacking = next((check.name.value for check in checks if check.vital and not check.ok), None)
        ready = GaugeMetricFamily(
            "truyvet_ready", "1 where the process can do its work, else 0 and why", labels=["process", "reason"]
        )
        ready.add_metric([self._process, lacking or READY], lacking is None)
        yield ready
        ok = GaugeMetricFamily(
            "truyvet_check_ok", "1 where this check of /readyz holds, else 0", labels=["process", "check"]
        )
        for check in checks:
            ok.add_metric([self._process, check.name.value], check.ok)
        yield ok
        memory = GaugeMetricFamily(
            "truyvet_resident_bytes", "Resident memory, of all workers together", labels=["process"]
        )
        memory.add_metric([self._process], sum(resident_bytes(pid) for pid in self._pids()))
        yield memory


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where it has ended or the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0
