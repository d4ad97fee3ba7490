import os
import subprocess
import sys
from pathlib import Path

from app.metrics.exposition import METRICS_VARIABLE, live_workers, workers_text

WORKER = """
import asyncio
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from app.metrics.edge import EdgeMetrics
from events.scans import Refusal
from ingest.receive import EdgeResult, StepSeconds

metrics = EdgeMetrics(Path(sys.argv[1]), CollectorRegistry())


async def serve():
    # Two requests that end in one turn of the loop, and one in a later turn.
    for _ in range(2):
        metrics.on_result(result)
    await asyncio.sleep(0)
    metrics.on_result(result)


result = EdgeResult(
    status=202, problem="", accepted=5, duplicate=2, refused={Refusal.BAD_CODE: 1}, scans=8, body_bytes=1_024,
    seconds=StepSeconds(receive=0.001, publish=0.004),
)
asyncio.run(serve())
print("counted", flush=True)
sys.stdin.read()
"""


def worker(directory: Path) -> "subprocess.Popen[bytes]":
    """A process that has counted three requests, and runs until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(directory)],
        env=os.environ | {METRICS_VARIABLE: str(directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"counted\n"
    return process


def test_a_worker_that_just_begins_its_file_fails_nobody_s_scrape(tmp_path: Path) -> None:
    running = worker(tmp_path)
    try:
        lines = workers_text(tmp_path, [])
        (tmp_path / "counter_1.db").touch()
        assert workers_text(tmp_path, []) == lines != b""
    finally:
        running.communicate()


def test_workers_count_together_and_the_dead_are_not_forgotten(tmp_path: Path) -> None:
    first, second = worker(tmp_path), worker(tmp_path)
    try:
        assert live_workers(tmp_path) == {first.pid, second.pid}
        lines = workers_text(tmp_path, []).decode().splitlines()
        first.kill()
        first.wait()
        after = workers_text(tmp_path, []).decode().splitlines()
        assert live_workers(tmp_path) == {second.pid}
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    for line in (
        'truyvet_ingest_requests_total{problem="",status="202"} 6.0',
        'truyvet_ingest_scans_total{verdict="accepted"} 30.0',
        'truyvet_ingest_scans_total{verdict="duplicate"} 12.0',
        'truyvet_ingest_scans_total{verdict="bad_code"} 6.0',
        "truyvet_ingest_batch_scans_sum 48.0",
        'truyvet_ingest_batch_bytes_bucket{le="1024.0"} 6.0',
        'truyvet_ingest_step_seconds_bucket{le="0.005",step="publish"} 6.0',
        'truyvet_ingest_step_seconds_bucket{le="0.0025",step="publish"} 0.0',
        'truyvet_ingest_step_seconds_sum{step="publish"} 0.024',
        'truyvet_ingest_step_seconds_count{step="verify"} 0.0',
    ):
        assert line in lines
        assert line in after
    assert "truyvet_ingest_workers 2.0" in lines
    assert "truyvet_ingest_workers 1.0" in after
