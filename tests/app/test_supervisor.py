"""The whole service under its supervisor: real processes, killed for real."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.fleet import Child, ChildFailed
from app.open_files import allow_open_files
from app.ports import AddressTaken, bound
from app.registries import open_registries
from app.settings import Settings
from app.supervisor import AlreadyRunning, Embedded
from events.control import PlaceRegistered
from events.places import Place
from tests.app.conftest import alive, answers, truyvet, until


def ready(settings: Settings) -> bool:
    return answers(f"{settings.ingest}/readyz") and answers(f"{settings.api}/readyz")


def test_everything_is_ready_when_start_returns(service: Embedded) -> None:
    assert sorted(service.pids) == ["ingest-1", "store", "valkey"]
    assert all(alive(pid) for pid in service.pids.values())
    assert answers(f"{service.settings.ingest}/readyz")
    assert answers(f"{service.settings.api}/healthz")
    until(lambda: ready(service.settings))


def test_run_files_are_the_owner_s_alone(service: Embedded) -> None:
    token = service.settings.run_dir / "token"
    assert token.read_text().strip() == service.token
    assert token.stat().st_mode & 0o077 == 0
    assert service.settings.run_dir.stat().st_mode & 0o077 == 0


def test_a_second_start_names_the_first(service: Embedded) -> None:
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        Embedded(service.settings).start()
    assert answers(f"{service.settings.ingest}/readyz")
    done = truyvet(service.settings, "up")
    assert done.returncode == 1
    assert str(os.getpid()) in done.stderr
    assert answers(f"{service.settings.ingest}/readyz")


@pytest.mark.parametrize("name", ["ingest-1", "store"])
def test_a_killed_process_is_started_again(service: Embedded, name: str) -> None:
    before = service.pids[name]
    os.kill(before, signal.SIGKILL)
    until(lambda: service.pids.get(name) not in (None, before))
    until(lambda: ready(service.settings))


def test_a_killed_valkey_comes_back_with_what_was_on_disk(service: Embedded) -> None:
    place = Place(id="kept", number=1, name="Kept")
    with open_registries(service.settings) as registries:
        registries.record([PlaceRegistered(place)])
    before = service.pids["valkey"]
    os.kill(before, signal.SIGKILL)
    until(lambda: service.pids.get("valkey") not in (None, before))
    until(lambda: ready(service.settings))
    with open_registries(service.settings) as registries:
        assert registries.registry.places().by_id["kept"] == place


def test_stop_leaves_nothing_and_a_restart_keeps_token_and_data(settings: Settings) -> None:
    with Embedded(settings) as first:
        pids, token = first.pids, first.token
    assert not any(alive(pid) for pid in pids.values())
    for port in (settings.ingest_port, settings.trace_port, settings.valkey_port):
        bound("127.0.0.1", port, shared=False).close()
    with Embedded(settings) as second:
        assert second.token == token


def test_missing_keys_beside_data_stop_the_start(settings: Settings) -> None:
    (settings.valkey_dir / "appendonlydir").mkdir(parents=True)
    done = truyvet(settings, "up")
    assert done.returncode == 1
    assert "backup" in done.stderr
    assert not settings.keys_path.exists()


def test_a_taken_port_stops_the_start_and_leaves_nothing(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.ingest_port))
        other.listen()
        service = Embedded(settings)
        with pytest.raises(AddressTaken, match=str(settings.ingest_port)):
            service.start()
        assert service.pids == {}


@pytest.fixture
def up(settings: Settings) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "app.cli", "up"],
        env=settings.process_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            until(lambda: process.poll() is not None or ready(settings))
            assert process.poll() is None
            yield process
        finally:
            process.terminate()  # harmless where it has ended


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_all(up: "subprocess.Popen[str]", number: signal.Signals) -> None:
    pids = children(up.pid)
    assert len(pids) == 3
    up.send_signal(number)
    assert up.wait(60) == 0
    assert not any(alive(pid) for pid in pids)


def test_a_killed_supervisor_leaves_valkey_alone_which_the_next_adopts(
    up: "subprocess.Popen[str]", settings: Settings
) -> None:
    pids = children(up.pid)
    up.kill()
    up.wait()
    until(lambda: sum(alive(pid) for pid in pids) == 1)
    (valkey,) = [pid for pid in pids if alive(pid)]
    with Embedded(settings) as service:
        assert service.pids["valkey"] == valkey
        until(lambda: ready(settings))
    assert not alive(valkey)


def test_a_child_is_awaited_on_a_descriptor_of_any_number() -> None:
    allow_open_files()
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        child = Child("settings", ["settings"], dict(os.environ))
        child.start()
        with pytest.raises(ChildFailed, match="ended at its start"):
            child.await_ready(time.monotonic() + 30)
    finally:
        for descriptor in held:
            os.close(descriptor)
