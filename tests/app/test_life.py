"""How a process ends, in processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from app.fleet import RESTART_SECONDS_MAX, Child
from app.processes.life import EXIT_STUCK, READY

PROGRAM = """
import sys, threading, time
from app.processes.life import Life
life = Life(supervisor_fd=int(sys.argv[1]), stop_wait_seconds=0.5)
def good(stopping): stopping.wait()
def raises(stopping): raise ValueError
def returns(stopping): pass
def stuck(stopping): time.sleep(60)
for name in sys.argv[2:]:
    life.part(name, globals()[name])
life.ready()
life.stopping.wait()
life.join()
sys.exit(life.exit_code)
"""
ROUNDING_SECONDS = 1e-6
Started = tuple["subprocess.Popen[bytes]", socket.socket]


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[Started]:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(theirs.fileno()), *request.param],
        pass_fds=[theirs.fileno()],
        stderr=subprocess.DEVNULL,
    )
    theirs.close()
    ours.settimeout(30)
    yield process, ours
    process.kill()
    process.wait()
    ours.close()


def ready(ours: socket.socket) -> bool:
    return ours.recv(64) == READY


@pytest.mark.parametrize("started", [["good", "good"]], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(started: Started, number: signal.Signals) -> None:
    process, ours = started
    assert ready(ours)
    process.send_signal(number)
    assert process.wait(30) == 0


@pytest.mark.parametrize("started", [["good"]], indirect=True)
def test_it_ends_when_its_supervisor_is_gone(started: Started) -> None:
    process, ours = started
    assert ready(ours)
    ours.close()
    assert process.wait(30) == 0


@pytest.mark.parametrize("started", [["good", "raises"], ["good", "returns"]], indirect=True)
def test_a_failed_part_ends_the_whole_with_a_failure(started: Started) -> None:
    process, _ = started
    assert process.wait(30) == 1


@pytest.mark.parametrize("started", [["stuck"]], indirect=True)
def test_a_stuck_part_does_not_keep_it_alive(started: Started) -> None:
    process, ours = started
    assert ready(ours)
    process.terminate()
    assert process.wait(30) == EXIT_STUCK


def test_early_deaths_are_answered_later_and_later() -> None:
    child = Child("x", ["no-such-command"], dict(os.environ))
    child.start()
    child.await_end(time.monotonic() + 30)
    delays = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, RESTART_SECONDS_MAX, RESTART_SECONDS_MAX]
    for delay in delays:
        asked = time.monotonic()
        start = child.next_start()
        # Between the two readings of the clock, however long they are apart.
        assert asked <= start - delay + ROUNDING_SECONDS
        assert start - delay - ROUNDING_SECONDS <= time.monotonic()
