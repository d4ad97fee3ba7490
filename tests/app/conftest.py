"""A service of its own for the tests that need one: real processes on free ports and a fresh data directory."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeVar

import pytest

from app.settings import Settings
from app.supervisor import Embedded

COMMAND_SECONDS_MAX: Final = 60.0

T = TypeVar("T")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; distinct because all are held until the last is chosen."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def settings_in(directory: Path, **values: str) -> Settings:
    """Settings of a data directory of its own, on free ports."""
    ingest, trace, valkey = free_ports(3)
    return Settings.from_environment(
        {
            "TRUYVET_DATA_DIR": str(directory / "data"),
            "TRUYVET_INGEST_PORT": str(ingest),
            "TRUYVET_TRACE_PORT": str(trace),
            "TRUYVET_VALKEY_PORT": str(valkey),
        }
        | values
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with Embedded(settings_in(tmp_path_factory.mktemp("service"))) as running:
        yield running


def truyvet(settings: Settings, *arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "app.cli", *arguments],
        env=settings.process_environment() | variables,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )


def until(happened: Callable[[], T | None], seconds: float = 30.0) -> T:
    """What `happened` gives once it gives something; fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = happened()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
