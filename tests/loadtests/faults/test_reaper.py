"""A process dies right after the step it was told, at the time it was told, and once."""

import signal
import subprocess
import sys
from pathlib import Path

from loadtests.faults.reaper import Orders, Reaper
from loadtests.faults.schedule import Death

PROCESS = """
import sys
from pathlib import Path
from loadtests.faults.reaper import Reaper
reaper = Reaper(Path(sys.argv[1]), "sink")
for number in range(1, 6):
    print(number, flush=True)
    reaper("frozen")
"""


def run(directory: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(directory)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


def test_it_dies_right_after_the_nth_time_and_the_order_is_gone(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "orders")
    orders.give(Death("sink", "frozen", nth=3, down_ms=0))
    assert orders.pending() == ["sink frozen"]
    assert run(tmp_path / "orders") == (-signal.SIGKILL, "1\n2\n3\n")
    assert orders.pending() == []
    assert run(tmp_path / "orders") == (0, "1\n2\n3\n4\n5\n")


def test_another_step_another_part_and_an_earlier_order_do_not_count(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    reaper = Reaper(tmp_path, "sink")
    reaper("frozen")
    orders.give(Death("sink", "frozen", nth=3, down_ms=0))
    for _ in range(5):
        reaper("committed")
        Reaper(tmp_path, "projector")("frozen")
    reaper("frozen")
    reaper("frozen")
    orders.give(Death("sink", "frozen", nth=3, down_ms=0))
    reaper("frozen")
    reaper("frozen")
    assert orders.pending() == ["sink frozen"]
