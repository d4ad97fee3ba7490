from pathlib import Path

import pytest
import redis

from app.ports import free_port
from storage.valkey import SERVER_OPTIONS, EmbeddedValkey, ValkeyFailed


def test_the_server_writes_before_it_answers(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path, port=free_port())
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.config_get("append*")["appendonly"] == "yes"
        assert client.config_get("append*")["appendfsync"] == "always"
        client.set("kept", "1")
    server.kill()
    assert not server.alive()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"1"
    server.stop()
    assert not server.alive()


def test_a_healthy_orphan_is_adopted_and_can_be_stopped(tmp_path: Path) -> None:
    port = free_port()
    parent = EmbeddedValkey(tmp_path, port=port)
    parent.start()
    heir = EmbeddedValkey(tmp_path, port=port)
    heir.start()
    assert (heir.adopted, heir.pid) == (True, parent.pid)
    heir.stop()
    assert not parent.alive()


def test_an_orphan_on_another_port_is_ended_first(tmp_path: Path) -> None:
    parent = EmbeddedValkey(tmp_path, port=free_port())
    parent.start()
    with redis.Redis.from_url(parent.url) as client:
        client.set("kept", "1")
    heir = EmbeddedValkey(tmp_path, port=free_port())
    heir.start()
    assert not parent.alive()
    assert not heir.adopted
    with redis.Redis.from_url(heir.url) as client:
        assert client.get("kept") == b"1"
    heir.stop()


def test_another_directorys_server_on_the_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    port = free_port()
    stranger = EmbeddedValkey(tmp_path / "stranger", port=port)
    stranger.start()
    with pytest.raises(ValkeyFailed, match="port"):
        EmbeddedValkey(tmp_path / "ours", port=port).start()
    assert stranger.alive()
    stranger.stop()


def test_a_server_that_has_much_to_read_is_given_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedValkey(tmp_path, port=free_port())
    server.start()
    with redis.Redis.from_url(server.url) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(100_000):
            pipeline.set(f"kept:{number}", "1")
        pipeline.execute()
    server.kill()
    slowly = ("--key-load-delay", "50", "--loading-process-events-interval-bytes", "1024")
    monkeypatch.setattr("storage.valkey.SERVER_OPTIONS", (*SERVER_OPTIONS, *slowly))
    monkeypatch.setattr("storage.valkey.START_SECONDS_MAX", 6.0)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == 100_000
    server.stop()
