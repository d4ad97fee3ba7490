"""Real servers for the tests: one Valkey and one ClickHouse engine a session, a clean slate for each test."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import redis
from hypothesis import HealthCheck, settings

from app.open_files import allow_open_files
from app.ports import free_port
from storage.clickhouse import Store, migrate
from storage.valkey import EmbeddedValkey
from tests.support.clickhouse_http import ClickHouseHttp

_databases = itertools.count(1)
REMARK = "remark"
"""The name of a property that a test records to have it printed at the end of the run."""
LONG: Final = ("tests/journey/", "tests/loadtests/", "tests/hostile/")


def pytest_configure() -> None:
    """The engine of this process wants as many files as the store process allows itself.

    No example of a property has a deadline: on a machine that is busy, time says nothing about the code. In a shell's
    background Ctrl-C is ignored, which every process would inherit that a test starts and then interrupts.
    """
    allow_open_files()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left with one at the end; pytest is told to leave that order."""
    items.sort(key=lambda item: not any(folder in item.nodeid for folder in LONG))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured on their way."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == REMARK:
                terminalreporter.write_line(str(text))


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """The bundled Valkey, durable as in production."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"), port=free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(valkey_server: EmbeddedValkey) -> str:
    """The URL of an empty Valkey."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture
def valkey(redis_url: str) -> Iterator["redis.Redis"]:
    """A client of an empty Valkey."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def chdb_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The engine of this process; chDB allows one path a process, so all tests share it."""
    return f"chdb://{tmp_path_factory.mktemp('chdb')}"


@pytest.fixture(scope="session")
def clickhouse_http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseHttp]:
    """The same engine in another process, behind ClickHouse's HTTP interface."""
    server = ClickHouseHttp(Path(tmp_path_factory.mktemp("clickhouse")))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["chdb", "http"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A migrated, empty database: once in process and once over HTTP."""
    url = request.getfixturevalue("chdb_url")
    if request.param == "http":
        url = request.getfixturevalue("clickhouse_http").url
    store = Store(url, database=f"test_{next(_databases)}")
    migrate(store)
    yield store
    store.command(f"DROP DATABASE {store.database} SYNC")
    store.close()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of worked cases and data beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "spec" / "vectors.json").exists():
        pytest.skip("the shared cases and data are not beside this repository")
    return folder
