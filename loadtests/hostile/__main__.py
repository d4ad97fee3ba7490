"""`make hostile`: the whole campaign against a service of its own, then what crowds cost; fails if anything is off."""

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.clock import now_ms
from app.ports import on_free_ports
from app.processes.backend import store
from app.settings import Settings
from app.stream_client import stream_client
from app.supervisor import Embedded
from events import codec
from loadtests.ending import exit_when_told
from loadtests.hostile.campaign import Campaign, Rows
from loadtests.hostile.crowd import IDLE, NOBODY, SLOW
from storage.watermarks import Watermarks

REQUESTS: Final = 100_000
RATIO_MIN: Final = 0.8
"""What must be left of the honest throughput beside a crowd."""
ROUNDS: Final = 5
CAUGHT_UP_SECONDS_MAX: Final = 120.0


def main(arguments: Sequence[str]) -> int:
    """Run it; 0 where nothing is off."""
    parser = argparse.ArgumentParser(prog="loadtests.hostile", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    exit_when_told()
    with tempfile.TemporaryDirectory(prefix="truyvet-hostile-") as directory:
        settings = _settings(Path(directory) / "data")
        with Embedded(settings):
            campaign = Campaign(settings, given.seed)
            report = campaign.run(given.requests)
            rates = campaign.beside_crowds(ROUNDS)
            _await_read_models(settings)
        faults = report.faults + campaign.audit(_reader(settings))
    ratios = {kind: _ratio(rates[kind], rates[NOBODY]) for kind in (IDLE, SLOW)}
    faults += [f"beside {kind} connections {ratio:.2f} is left" for kind, ratio in ratios.items() if ratio < RATIO_MIN]
    sys.stdout.buffer.write(codec.to_json({"report": report, "honest_per_second": rates, "ratios": ratios}) + b"\n")
    print(report.line())
    alone = statistics.median(rates[NOBODY])
    for kind, ratio in ratios.items():
        print(f"Honest throughput beside 1,000 {kind} connections: {ratio:.2f} of {alone:.0f} requests/s")
    for fault in faults:
        print(f"FAULT {fault}")
    return 1 if faults or report.faults_total else 0


def _ratio(beside: list[float], alone: list[float]) -> float:
    """The median of the rounds' ratios: what else the machine does changes from round to round, less within one."""
    return statistics.median(one / other for one, other in zip(beside, alone, strict=True))


def _settings(directory: Path) -> Settings:
    return Settings.from_environment(
        {
            "TRUYVET_DATA_DIR": str(directory),
            "TRUYVET_LOG_LEVEL": "warning",
            "TRUYVET_DEVICE_REQUESTS_PER_SECOND": "1000000",
            "TRUYVET_DEVICE_SCANS_PER_SECOND": "1000000",
        }
        | on_free_ports()
    )


def _await_read_models(settings: Settings) -> None:
    with contextlib.closing(stream_client(settings)) as client:
        if Watermarks(client).wait("read-models", now_ms(), CAUGHT_UP_SECONDS_MAX) is None:
            raise TimeoutError("the read models do not catch up")


def _reader(settings: Settings) -> Rows:
    """Reads the stopped service's store; this process is its owner now."""
    opened = store(settings)
    return lambda sql: [list(row) for row in opened.rows(sql)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
