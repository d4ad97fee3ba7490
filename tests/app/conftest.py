"""A service of its own for the tests that need one: real processes on free ports and a fresh data directory."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import pytest

from app.ports import on_free_ports
from app.settings import Settings
from app.supervisor import Embedded

COMMAND_SECONDS_MAX: Final = 60.0
WAIT_SECONDS_MAX: Final = 60.0
"""Most of it is never waited: this is for a machine that is busy with other things."""

T = TypeVar("T")


def settings_in(directory: Path, **values: str) -> Settings:
    """Settings of a data directory of its own, on free ports."""
    return Settings.from_environment({"TRUYVET_DATA_DIR": str(directory / "data")} | on_free_ports() | values)


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


def until(happened: Callable[[], T | None], seconds: float = WAIT_SECONDS_MAX) -> T:
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
