from pathlib import Path

import pytest

from app.settings import MASK, Settings, SettingsError


def test_defaults_need_no_variable() -> None:
    settings = Settings.from_environment({})
    assert settings.data_dir == Path("truyvet-data").absolute()
    assert settings.keys_path == settings.data_dir / "keys.json"
    assert settings.store_url == f"chdb://{settings.data_dir}/clickhouse"
    assert settings.stream_url == "redis://127.0.0.1:8472/0"
    assert (settings.api, settings.ingest) == ("http://127.0.0.1:8471", "http://127.0.0.1:8470")
    assert settings.embedded_redis
    assert settings.embedded_store


def test_an_empty_value_is_not_set() -> None:
    assert Settings.from_environment({"TRUYVET_INGEST_PORT": ""}).ingest_port == 8470


def test_foreign_variables_are_left_alone() -> None:
    assert Settings.from_environment({"PATH": "/bin", "TRUYVETX": "1"}) == Settings.from_environment({})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TRUYVET_INGEST_PORT", "x", "TRUYVET_INGEST_PORT=x"),
        ("TRUYVET_INGEST_PORT", "65536", "TRUYVET_INGEST_PORT=65536"),
        ("TRUYVET_INGEST_WORKERS", "0", "TRUYVET_INGEST_WORKERS=0"),
        ("TRUYVET_LOG_LEVEL", "loud", "TRUYVET_LOG_LEVEL=loud"),
        ("TRUYVET_CLICKHOUSE_DATABASE", "x; DROP", "TRUYVET_CLICKHOUSE_DATABASE="),
        ("TRUYVET_CLICKHOUSE_CLUSTER", "x') DROP", "TRUYVET_CLICKHOUSE_CLUSTER="),
        ("TRUYVET_CLICKHOUSE_CLUSTER", "country", "set TRUYVET_CLICKHOUSE_URL"),
        ("TRUYVET_REDIS_URL", "localhost:6379", "TRUYVET_REDIS_URL is not a URL"),
        ("TRUYVET_CLICKHOUSE_URL", "embedded", "TRUYVET_CLICKHOUSE_URL is not a URL"),
        ("TRUYVET_API_URL", "ftp://x", "TRUYVET_API_URL is not a URL"),
        ("TRUYVET_INGST_PORT", "1", "Did you mean TRUYVET_INGEST_PORT?"),
        ("TRUYVET_QQQQQ", "1", "truyvet settings"),
    ],
)
def test_a_wrong_variable_is_named_with_advice(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({name: value})
    assert says in str(caught.value)


def test_an_error_quotes_no_password() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"TRUYVET_REDIS_URL": "amqp://user:hunter2@host/"})
    assert "hunter2" not in str(caught.value)


def test_secrets_are_masked() -> None:
    settings = Settings.from_environment(
        {
            "TRUYVET_TOKEN": "tvt_secret",
            "TRUYVET_REDIS_URL": "rediss://user:hunter2@host:6379/0",
            "TRUYVET_CLICKHOUSE_URL": "http://user:hunter3@host:8123/",
        }
    )
    shown = settings.masked()
    assert shown["TRUYVET_TOKEN"] == MASK
    assert shown["TRUYVET_REDIS_URL"] == f"rediss://user:{MASK}@host:6379/0"
    assert not any(secret in str(shown) for secret in ("tvt_secret", "hunter2", "hunter3"))


def test_every_setting_is_shown() -> None:
    settings = Settings.from_environment({})
    assert len(settings.masked()) == len(Settings.__struct_fields__)


def test_children_get_all_but_the_token() -> None:
    settings = Settings.from_environment({"TRUYVET_TOKEN": "tvt_secret", "TRUYVET_INGEST_PORT": "1234"})
    again = Settings.from_environment(settings.environment())
    assert again.token == ""
    assert again.ingest_port == 1234
    assert again == Settings.from_environment({"TRUYVET_INGEST_PORT": "1234"})


def test_a_wildcard_address_is_reached_by_loopback() -> None:
    settings = Settings.from_environment({"TRUYVET_INGEST_HOST": "0.0.0.0", "TRUYVET_TRACE_HOST": "::"})
    assert settings.ingest == "http://127.0.0.1:8470"
    assert settings.api == "http://[::1]:8471"
