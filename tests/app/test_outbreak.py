"""docs/places-and-clusters.md as somebody follows it, on a running service, and its feed across a death of it."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest

from app.client import ApiClient, api_client
from app.settings import SettingsError
from app.supervisor import Embedded
from events import codec
from events.clusters import Announced, Change
from events.places import Category
from tests.app.conftest import WAIT_SECONDS_MAX, answers, settings_in, until

PAGE: Final = Path(__file__).parents[2] / "docs" / "places-and-clusters.md"
PURPOSE: Final = "a test of the outbreak desk"


def block(name: str) -> str:
    """The page's commands of this name."""
    (found,) = re.findall(rf"^```sh {name}\n(.*?)\n```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def shell(service: Embedded, directory: Path, commands: str) -> str:
    """What the commands print, run as they stand."""
    environment = service.settings.process_environment()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * WAIT_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Follower:
    """`truyvet clusters --follow`, its lines as they come."""

    def __init__(self, service: Embedded) -> None:
        command = ["clusters", "--follow", "--after", "0", "--json", "--purpose", PURPOSE]
        self.process: Final = subprocess.Popen(
            [sys.executable, "-P", "-m", "app.cli", *command],
            env=service.settings.process_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.heard: Final[list[Announced]] = []
        self._reader: Final = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.append(codec.from_json(line, Announced))

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(WAIT_SECONDS_MAX)
        self._reader.join(WAIT_SECONDS_MAX)
        return code


def standing(client: ApiClient) -> list[Announced]:
    return client.clusters(None, PURPOSE).items


def test_the_page_s_commands_and_a_feed_that_outlives_the_service(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with Embedded(settings) as service:
        shell(service, tmp_path, block("prepare"))
        client = api_client(settings)
        follower = Follower(service)
        try:
            until(lambda: follower.heard)
            before = service.pids["store"]
            os.kill(before, signal.SIGKILL)
            until(lambda: service.pids.get("store") not in (None, before))
            until(lambda: answers(f"{settings.api}/readyz"))
            shell(service, tmp_path, block("grow"))
            until(lambda: any("f0-4" in one.announcement.cases for one in follower.heard))
        finally:
            code = follower.stop()
        assert code == 130, "stopped, not failed"
        assert [one.number for one in follower.heard] == list(range(1, len(follower.heard) + 1))
        (cluster,) = standing(client)
        assert cluster == follower.heard[-1]
        assert (cluster.announcement.place, cluster.announcement.change) == ("cafe", Change.GROWN)
        assert cluster.announcement.cases == ("f0-1", "f0-2", "f0-3", "f0-4")
        assert {one.announcement.cluster for one in follower.heard} == {cluster.announcement.cluster}
        shown = shell(service, tmp_path, block("look"))
    assert "4 of 4" in shown
    assert "cafe in mall" in shown
    assert "of 12" in shown, "peak against capacity"
    assert re.search(r"^4 people in 2 places; at most 4 at once", shown, re.MULTILINE)


@pytest.mark.parametrize("value", ["market,", "nowhere"])
def test_categories_that_are_none_are_refused_at_the_start(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match=f"TRUYVET_OUTBREAK_LEAVE_OUT={value}"):
        settings_in(tmp_path, TRUYVET_OUTBREAK_LEAVE_OUT=value)


def test_categories_may_be_none_or_several(tmp_path: Path) -> None:
    assert settings_in(tmp_path, TRUYVET_OUTBREAK_LEAVE_OUT="none").outbreak_leaves_out == frozenset()
    two = settings_in(tmp_path, TRUYVET_OUTBREAK_LEAVE_OUT="market, vehicle")
    assert two.outbreak_leaves_out == {Category.MARKET, Category.VEHICLE}
