"""The stream's adapter against both servers that a deployment may run: the bundled Valkey, and Redis 7."""

import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis

from app.ports import free_port
from storage.valkey import SERVER_OPTIONS, EmbeddedValkey

START_ATTEMPTS_MAX = 1_200
POLL_SECONDS = 0.05


@pytest.fixture(scope="session")
def redis_seven_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Redis 7 as Debian packages it, durable as in production."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    port = free_port()
    process = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", *SERVER_OPTIONS],
        cwd=tmp_path_factory.mktemp("redis"),
        stdout=subprocess.DEVNULL,
    )
    url = f"redis://127.0.0.1:{port}/0"
    for _ in range(START_ATTEMPTS_MAX):
        try:
            with redis.Redis.from_url(url) as client:
                assert client.info("server")["redis_version"].startswith("7.")
                break
        except redis.ConnectionError:
            time.sleep(POLL_SECONDS)
    yield url
    process.terminate()
    process.wait(30)


@pytest.fixture(params=["valkey", "redis-7"])
def redis_url(request: pytest.FixtureRequest, valkey_server: EmbeddedValkey) -> str:
    """The URL of an empty server."""
    url = valkey_server.url if request.param == "valkey" else request.getfixturevalue("redis_seven_url")
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return str(url)
