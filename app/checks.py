"""What `truyvet doctor` looks at: each part of the service, how it is, and what to do about it."""

import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
import redis

from app.client import ApiClient, ApiDown
from app.clock import now_ms, shown_seconds
from app.key_file import KeyFileError, load
from app.ports import AddressTaken, bound
from app.settings import Settings, masked_url
from app.stream_client import StreamClients, stream_clients
from app.supervisor import has_data
from events import codec
from events.problems import ProblemError
from events.readiness import Readiness
from storage.backlog import read_waiting
from storage.clickhouse import Store, migrations
from storage.errors import StoreDown, StreamDown
from storage.watermarks import Name, Watermarks

PYTHON_MIN: Final = (3, 11)
DISK_BYTES_BAD: Final = 1_000_000_000
DISK_BYTES_WARNING: Final = 5_000_000_000
SEE_OPERATIONS: Final = "docs/operations.md, When something is down, says what to do."
WATERMARK_AGE_MS_MAX: Final = 30_000
REQUIRED_CONFIG: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
REQUIRED_OF_CLUSTER: Final = {"cluster-require-full-coverage": "no"}
"""Otherwise one partition's server that is away stops all others."""


class Finding(msgspec.Struct, frozen=True):
    """One line: which part, how it is, and what to do (empty where nothing is)."""

    part: str
    state: Literal["good", "warning", "bad"]
    text: str
    advice: str = ""


def checks(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order of a scan's way through the service."""
    yield _python()
    yield _keys(settings)
    yield _disk(settings.data_dir)
    yield _port("ingest", settings.ingest_host, settings.ingest_port, settings.ingest)
    yield _port("trace", settings.trace_host, settings.trace_port, settings.api)
    clients = stream_clients(settings)
    try:
        yield from _stream(settings, clients)
    finally:
        clients.close()
    yield from _store(settings)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < PYTHON_MIN:
        return Finding("python", "bad", version, "Install Python 3.11 or newer and make the virtual environment anew.")
    return Finding("python", "good", version)


def _keys(settings: Settings) -> Finding:
    path = settings.keys_path
    if not path.exists() and not (settings.embedded_redis and has_data(settings)):
        return Finding("keys", "warning", f"{path} is not made yet", "`truyvet up` or `truyvet migrate` makes it.")
    try:
        keys = load(path)
    except KeyFileError as error:
        return Finding("keys", "bad", str(error))
    return Finding("keys", "good", f"{path}, mode 0600, generation {keys.current.kid}; have a backup of it")


def _disk(data_dir: Path) -> Finding:
    nearest = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    text = f"{free / 1e9:.1f} GB free at {nearest}"
    if free < DISK_BYTES_BAD:
        return Finding("disk", "bad", text, "Make room: a full disk stops the stream, and scanners must wait.")
    if free < DISK_BYTES_WARNING:
        return Finding("disk", "warning", text, "Make room before it is full.")
    return Finding("disk", "good", text)


def _port(part: str, host: str, port: int, url: str) -> Finding:
    """Whether the service answers where it should, the port is free, or somebody else has it."""
    variable = f"TRUYVET_{part.upper()}_PORT"
    try:
        ready = codec.from_json(ApiClient(url, "").get("/readyz"), Readiness)
    except ProblemError as error:
        why = f"{error.problem.title}. {error.problem.detail}".rstrip()
        return Finding(part, "bad", f"{url} is not ready: {why}", SEE_OPERATIONS)
    except msgspec.MsgspecError:
        return Finding(part, "bad", f"{host}:{port} is taken by another program", f"End it, or set {variable}.")
    except ApiDown:
        try:
            bound(host, port, shared=False).close()
        except AddressTaken:
            return Finding(part, "bad", f"{host}:{port} is taken by another program", f"End it, or set {variable}.")
        return Finding(part, "warning", f"nothing runs at {url}", "`truyvet up` starts it.")
    failing = [f"{check.name.value}: {check.detail}" for check in ready.checks if not check.ok]
    if failing:
        return Finding(
            part, "warning", f"ready at {url}, but {'; '.join(failing)}", "docs/operations.md: When something is down."
        )
    return Finding(part, "good", f"ready at {url}")


def _stream(settings: Settings, clients: StreamClients) -> Iterator[Finding]:
    client = clients.shared
    address = masked_url(settings.stream_url)
    try:
        client.ping()
        info = client.info("server")
    except redis.RedisError as error:
        advice = "`truyvet up` starts it." if settings.embedded_redis else "Check TRUYVET_REDIS_URL and the server."
        yield Finding("stream", "bad", f"{address} does not answer ({type(error).__name__})", advice)
        return
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info.get("redis_version", "of unknown version"))
    yield Finding("stream", "good", f"{name} {version} at {address}")
    yield _stream_config(settings, clients)
    yield from _guarded("sink", lambda: _backlog(clients, settings.stream_bytes_max))
    names: tuple[tuple[str, Name], ...] = (("log", "log"), ("read models", "read-models"))
    for part, watermark in names:
        yield from _guarded(part, partial(_watermark, clients, part, watermark))


def _stream_config(settings: Settings, clients: StreamClients) -> Finding:
    """Of every server that has a key of ours, once where it is alone."""
    servers = {clients.shared, *clients.partitions}
    required = REQUIRED_CONFIG | (REQUIRED_OF_CLUSTER if settings.redis_cluster_nodes else {})
    try:
        wrong = sorted(
            {
                f"{name} is {found!r}, must be {wanted!r}"
                for server in servers
                for name, wanted in required.items()
                if (found := server.config_get(name).get(name)) != wanted
            }
        )
    except redis.RedisError:
        return Finding("durability", "warning", "CONFIG is not allowed here", "Check appendonly and appendfsync there.")
    if wrong:
        return Finding("durability", "bad", "; ".join(wrong), "Set them: until then 202 does not mean on disk.")
    return Finding("durability", "good", "an answer means on disk (appendonly yes, appendfsync always)")


def _backlog(clients: StreamClients, bytes_max: int) -> Finding:
    parts = read_waiting(clients.partitions)
    entries, size = sum(part.entries for part in parts), sum(part.bytes for part in parts)
    text = f"{entries} batches, {size / 1e6:.1f} of {bytes_max / 1e6:.0f} MB wait in the stream"
    if max(part.bytes for part in parts) > bytes_max / len(clients.partitions) / 2:
        return Finding("sink", "warning", text, "Is the sink running? See its log; the store may be down or slow.")
    return Finding("sink", "good", text)


def _watermark(clients: StreamClients, part: str, name: Name) -> Finding:
    mark = Watermarks(clients.shared, clients.partitions).read(name)
    if mark is None:
        return Finding(part, "warning", "has never reported", "Start the service: `truyvet up`.")
    age = now_ms() - mark.received
    text = f"{mark.rows:,} scans, complete up to {shown_seconds(max(age, 0) / 1000)} ago"
    if age > WATERMARK_AGE_MS_MAX:
        return Finding(part, "warning", text, "Traces wait for it. Is the service running? See the log of its process.")
    return Finding(part, "good", text)


def _guarded(part: str, look: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        yield look()
    except StreamDown as error:
        yield Finding(part, "bad", f"the stream does not answer ({error})", "See the line of the stream.")


def _store(settings: Settings) -> Iterator[Finding]:
    if settings.embedded_store:
        # Its one owner has it open; what it says under `trace` above is how it is.
        yield Finding("store", "good", "embedded (chDB); its owner answers under trace")
        return
    store = Store(settings.store_url, database=settings.clickhouse_database, cluster=settings.clickhouse_cluster)
    address = masked_url(settings.store_url)
    try:
        version = store.rows("SELECT version()")[0][0]
        yield Finding("store", "good", f"ClickHouse {version} at {address}")
        applied = {row[0] for row in store.rows("SELECT name FROM migrations")}
    except StoreDown as error:
        yield Finding("store", "bad", f"{address}: {error}", "Check TRUYVET_CLICKHOUSE_URL; run `truyvet migrate`.")
        return
    finally:
        store.close()
    missing = [name for name, _ in migrations() if name not in applied]
    if missing:
        yield Finding("migrations", "bad", f"not applied: {', '.join(missing)}", "Run `truyvet migrate`.")
    else:
        yield Finding("migrations", "good", f"all {len(applied)} applied")
