"""All settings, read once from `TRUYVET_…` environment variables. Nothing else reads the environment."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from app.errors import Explained
from events.places import Category
from ingest.limits import DAY_SECONDS, EdgeLimits
from storage.addresses import Address, node_address
from tracing.directory.rules import RevealRules
from tracing.retention.terms import Terms

PREFIX: Final = "TRUYVET_"
REDIS_EMBEDDED: Final = "embedded"
VALKEY_OTHER_BYTES_MAX: Final = 500_000_000
"""Memory of the embedded stream server for all that is not the stream: the registries, and which seqs were seen."""
PERSON_KEYS_FILE: Final = Path("people", "keys.sqlite")
MASK: Final = "••••"
SECRET_FIELDS: Final = frozenset({"token"})
URL_FIELDS: Final = frozenset({"redis_url", "clickhouse_url", "api_url", "ingest_url"})

Port = Annotated[int, Meta(ge=1, le=65_535)]
Host = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Rate = Annotated[float, Meta(gt=0)]
"""So many a second."""
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "human", "json"]


class SettingsError(Explained):
    """A variable is unknown or has a value that cannot be used; the message names it and says what to do."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of every process. Field `x_y` is the variable `TRUYVET_X_Y`.

    `data_dir` is absolute. Values that depend on another one are empty here when they were not set; read them
    through the properties beside them (`keys_path`, `store_url`, `api`, `ingest`).
    """

    data_dir: Path
    """Keys, embedded servers' data and run files."""
    key_file: str = ""
    """The server's secrets; empty: `keys.json` in `data_dir`."""

    redis_url: str = REDIS_EMBEDDED
    """`embedded`, or `redis://`, `rediss://` or `unix://` of a server with appendonly yes and appendfsync always."""
    redis_cluster_nodes: str = ""
    """`host:port,…`: further nodes of the cluster that `redis_url`'s server belongs to; empty: a server of its own."""
    redis_replicas: Annotated[str, Meta(pattern="^[0-5]?$")] = ""
    """How many replicas must have a scan on disk too before it is acknowledged; a cluster needs it said."""
    stream_partitions: Annotated[int, Meta(ge=1, le=256)] = 1
    """Into how many parts devices are divided, each on one server of a cluster; the same for every process."""
    valkey_port: Port = 8472
    """The loopback port of the embedded stream server."""
    clickhouse_url: str = ""
    """`http(s)://user:password@host:port/`; empty: chDB in `data_dir`."""
    clickhouse_database: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "truyvet"
    clickhouse_cluster: Annotated[str, Meta(pattern="^([a-z_][a-z0-9_]{0,62})?$")] = ""
    """The cluster in the servers' `remote_servers` over which the tables are spread; empty: plain tables."""

    ingest_host: Host = "127.0.0.1"
    ingest_port: Port = 8470
    ingest_workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes that share the ingest port; one core each, and leave one for the store."""
    trace_host: Host = "127.0.0.1"
    trace_port: Port = 8471
    sink_host: Host = "127.0.0.1"
    sink_port: Port = 8473
    project_host: Host = "127.0.0.1"
    project_port: Port = 8474
    """Where sink and projector, as processes of their own, say how they are: health and metrics, nothing else."""
    stream_bytes_max: Annotated[int, Meta(ge=1_000_000)] = 500_000_000
    """Bytes that may wait in the stream before scanners are told to come again later (503); all in Redis's memory."""

    device_requests_per_second: Rate = EdgeLimits().device_requests_per_second
    device_scans_per_second: Rate = EdgeLimits().device_scans_per_second
    """What one device may send to one ingest worker for long; beyond, it is told to wait (429)."""

    retention_scan_days: Annotated[int, Meta(ge=0, le=3_650)] = 28
    """Whole days for which a scan is kept after it happened; 0: for good."""
    retention_trace_days: Annotated[int, Meta(ge=0, le=3_650)] = 28
    """Whole days for which a saved trace is kept after its cases were closed, or after it was asked; 0: for good."""

    api_url: str = ""
    """Where commands ask for traces; empty: `trace_host` and `trace_port`."""
    ingest_url: str = ""
    """Where the reference scanner sends; empty: `ingest_host` and `ingest_port`."""
    token: str = ""
    """The bearer token of commands; empty: the local operator's, in `data_dir/run/token`."""

    occupancy_people_min: Annotated[int, Meta(ge=1, le=1_000)] = 5
    """Who may look at nobody is not told of hours with fewer people at a place; of others, figures rounded to it."""
    outbreak_cases_min: Annotated[int, Meta(ge=2, le=1_000)] = 3
    """So many F0 at one place …"""
    outbreak_window_hours: Annotated[int, Meta(ge=1, le=840)] = 72
    """… within so many hours are announced as a cluster."""
    outbreak_lookback_days: Annotated[int, Meta(ge=0, le=35)] = 12
    """For clusters an F0 counts from so long before the infectious window, when they may have been infected."""
    outbreak_leave_out: str = "checkpoint,quarantine_area"
    """Categories of places, with commas, that are never announced as clusters; `none` for none."""

    person_keys_file: str = ""
    """The people's own keys, which open the directory of names; empty: `people/keys.sqlite` in `data_dir`."""
    reveals_per_day: Annotated[int, Meta(ge=0, le=1_000_000)] = RevealRules().per_day
    """So many names one person may see in a day (UTC)."""
    four_eyes: bool = RevealRules().four_eyes
    """Whether a second person must agree before somebody sees a name."""
    reveal_wait_seconds: Seconds = RevealRules().wait_seconds
    """How long a request to see names waits to be decided, and then to be opened."""

    project_poll_seconds: Seconds = 0.2
    """How long the projector waits before it asks for new rows again."""
    ready_wait_seconds: Seconds = 60.0
    """How long `up` waits for a process to become ready."""
    stop_wait_seconds: Seconds = 20.0
    """How long a process may take to stop cleanly before it is killed."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"
    """`auto` is human on a terminal and JSON elsewhere."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """The settings of an environment; an empty value counts as not set. Raises `SettingsError`."""
        given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value != ""}
        for name in given:
            _refuse_unknown(name)
        values = {name.removeprefix(PREFIX).lower(): value.strip() for name, value in given.items()}
        values["data_dir"] = str(Path(values.get("data_dir", "./truyvet-data")).expanduser().absolute())
        try:
            settings = msgspec.convert(values, cls, strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise SettingsError(_explained(error, given)) from None
        settings._check_urls()
        settings._check_cluster()
        settings._check_stream()
        settings._check_outbreak()
        return settings

    def environment(self) -> dict[str, str]:
        """The variables that hand these settings on to a child process; the operator's token stays behind."""
        return {
            PREFIX + name.upper(): str(getattr(self, name))
            for name in self.__struct_fields__
            if name not in SECRET_FIELDS
        }

    def process_environment(self) -> dict[str, str]:
        """The whole environment of a child process: this process's own with these settings in place."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return inherited | self.environment()

    def masked(self) -> dict[str, str]:
        """Variable → value for people to read, with secrets and passwords masked and empty defaults resolved."""
        resolved = {
            "key_file": str(self.keys_path),
            "person_keys_file": str(self.person_keys_path),
            "clickhouse_url": self.store_url,
            "api_url": self.api,
            "ingest_url": self.ingest,
        }
        shown: dict[str, str] = {}
        for name in self.__struct_fields__:
            value = resolved.get(name, str(getattr(self, name)))
            if name in SECRET_FIELDS and value:
                value = MASK
            elif name in URL_FIELDS:
                value = masked_url(value)
            shown[PREFIX + name.upper()] = value
        return shown

    def _check_urls(self) -> None:
        for name, schemes in (
            ("redis_url", ("redis", "rediss", "unix")),
            ("clickhouse_url", ("http", "https", "chdb")),
            ("api_url", ("http", "https")),
            ("ingest_url", ("http", "https")),
        ):
            value: str = getattr(self, name)
            if value in ("", REDIS_EMBEDDED) and (value == "" or name == "redis_url"):
                continue
            if urlsplit(value).scheme not in schemes:
                wanted = " or ".join(f"{scheme}://…" for scheme in schemes)
                raise SettingsError(f"{PREFIX}{name.upper()} is not a URL that works here: it must be {wanted}.")

    def _check_cluster(self) -> None:
        if self.clickhouse_cluster and self.embedded_store:
            raise SettingsError(
                f"{PREFIX}CLICKHOUSE_CLUSTER needs servers: set {PREFIX}CLICKHOUSE_URL to http(s)://… of one of them,"
                " or leave the cluster out."
            )

    def _check_stream(self) -> None:
        name = f"{PREFIX}REDIS_CLUSTER_NODES"
        if self.embedded_redis and self.stream_replicas:
            raise SettingsError(f"{PREFIX}REDIS_REPLICAS: the embedded stream server has none. Leave it out.")
        if not self.redis_cluster_nodes:
            return
        if self.embedded_redis:
            raise SettingsError(f"{name} needs servers: set {PREFIX}REDIS_URL to redis://… of one of them.")
        try:
            _ = self.cluster_nodes
        except ValueError as error:
            raise SettingsError(f"{name}: {error}. It is a list such as stream-2:6379,stream-3:6379.") from None
        if not self.redis_replicas:
            raise SettingsError(
                f"{name} needs {PREFIX}REDIS_REPLICAS. Set 1, and no acknowledged scan is lost when a replica takes"
                " over; with 0 the latest ones may be."
            )

    def _check_outbreak(self) -> None:
        try:
            _ = self.outbreak_leaves_out
        except ValueError:
            raise SettingsError(
                f"{PREFIX}OUTBREAK_LEAVE_OUT={self.outbreak_leave_out} cannot be used: it is `none`, or categories of"
                f" places with commas between, of {', '.join(Category)}."
            ) from None

    @property
    def outbreak_leaves_out(self) -> frozenset[Category]:
        """The categories of places that are never announced as clusters. Raises `ValueError`."""
        names = [name.strip() for name in self.outbreak_leave_out.split(",")]
        return frozenset() if names == ["none"] else frozenset(Category(name) for name in names)

    @property
    def cluster_nodes(self) -> list[Address]:
        """The further nodes of the stream's cluster. Raises `ValueError`."""
        return [node_address(text) for text in self.redis_cluster_nodes.split(",") if text.strip()]

    @property
    def terms(self) -> Terms:
        """How long things are kept."""
        return Terms(scan_days=self.retention_scan_days, trace_days=self.retention_trace_days)

    @property
    def scan_age_seconds_max(self) -> int:
        """How long ago a scan may have happened that the edge takes: no longer than scans are kept."""
        age_max = EdgeLimits().scan_age_seconds_max
        return min(age_max, self.retention_scan_days * DAY_SECONDS) if self.retention_scan_days else age_max

    @property
    def stream_replicas(self) -> int:
        """How many replicas must have on disk what is acknowledged."""
        return int(self.redis_replicas or 0)

    @property
    def stream_url(self) -> str:
        """Redis's address, also when it is embedded."""
        return f"redis://127.0.0.1:{self.valkey_port}/0" if self.embedded_redis else self.redis_url

    @property
    def embedded_redis(self) -> bool:
        """Whether `up` runs the stream's server itself."""
        return self.redis_url == REDIS_EMBEDDED

    @property
    def embedded_store(self) -> bool:
        """Whether the store is chDB, which one process alone may open."""
        return self.store_url.startswith("chdb://")

    @property
    def person_keys_path(self) -> Path:
        """The file of the people's own keys."""
        return Path(self.person_keys_file).expanduser() if self.person_keys_file else self.data_dir / PERSON_KEYS_FILE

    @property
    def reveal_rules(self) -> RevealRules:
        """Who may see how many names, and when."""
        return RevealRules(
            per_day=self.reveals_per_day, four_eyes=self.four_eyes, wait_seconds=self.reveal_wait_seconds
        )

    @property
    def keys_path(self) -> Path:
        """Where the server's secrets lie."""
        return Path(self.key_file).expanduser().absolute() if self.key_file else self.data_dir / "keys.json"

    @property
    def store_url(self) -> str:
        """ClickHouse's address, `chdb://…` when it is embedded."""
        return self.clickhouse_url or f"chdb://{self.data_dir / 'clickhouse'}"

    @property
    def api(self) -> str:
        """The trace API's base address without a trailing slash."""
        return (self.api_url or f"http://{_authority(self.trace_host, self.trace_port)}").rstrip("/")

    @property
    def ingest(self) -> str:
        """The ingest edge's base address without a trailing slash."""
        return (self.ingest_url or f"http://{_authority(self.ingest_host, self.ingest_port)}").rstrip("/")

    @property
    def run_dir(self) -> Path:
        """Files of the running service: lock, addresses, operator's token, metrics."""
        return self.data_dir / "run"

    @property
    def prometheus_dir(self) -> Path:
        """Where processes share their metrics."""
        return self.run_dir / "metrics"

    @property
    def valkey_memory_bytes_max(self) -> int:
        """What the embedded stream server may take: twice what may wait in it, and room for registries and seqs."""
        return 2 * self.stream_bytes_max + VALKEY_OTHER_BYTES_MAX

    @property
    def valkey_dir(self) -> Path:
        """The embedded stream server's directory."""
        return self.data_dir / "valkey"


def read_settings() -> Settings:
    """The settings of this process. Raises `SettingsError`."""
    return Settings.from_environment(os.environ)


def masked_url(url: str) -> str:
    """The URL with its password masked; a text without one stays as it is."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    return url.replace(f":{parts.password}@", f":{MASK}@", 1)


def _authority(host: str, port: int) -> str:
    """Host and port as a client on this machine reaches them: a wildcard address becomes loopback."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"


def _path(type: type, value: Any) -> Path:
    if type is Path:
        return Path(value)
    raise NotImplementedError(type)


def _refuse_unknown(name: str) -> None:
    field = name.removeprefix(PREFIX).lower()
    if field in Settings.__struct_fields__:
        return
    near = difflib.get_close_matches(field, Settings.__struct_fields__, n=1)
    advice = f"Did you mean {PREFIX}{near[0].upper()}?" if near else "`truyvet settings` lists them all."
    raise SettingsError(f"{name} is not a setting. {advice}")


def _explained(error: msgspec.ValidationError, given: Mapping[str, str]) -> str:
    """msgspec's message with the JSON path replaced by the variable and, unless it is secret, its value."""
    message, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`")
    name = PREFIX + field.upper()
    value = "" if field in SECRET_FIELDS or field in URL_FIELDS else f"={given.get(name, '')}"
    return f"{name}{value} cannot be used: {message[:1].lower()}{message[1:]}. `truyvet settings` shows the default."
