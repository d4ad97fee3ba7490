"""How the stream's server, the store and those who read from them are: the parts' own words, as checks.

Nothing here raises: a part that does not answer is a finding.
"""

from collections.abc import Mapping
from typing import Final

import redis
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ResponseError

from events.readiness import Check, CheckName
from storage.backlog import read_waiting
from storage.clickhouse import Store
from storage.errors import StreamDown
from storage.watermarks import Watermark, Watermarks

PROBE: Final = "truyvet:{0}:probe"
"""A key that never exists. Writing to it only where it does is refused as every write would be, and writes nothing."""
BACKLOG_SHARE_MAX: Final = 0.5
BACKLOG_SECONDS_MAX: Final = 30.0
"""How much of the stream's limit may wait, and for how long, before the sink is said to be behind."""
LOG_AGE_MS_MAX: Final = 30_000
LAG_MS_MAX: Final = 10_000
"""Beyond it a trace as of now is not answered."""
UNKNOWN: Final = "Not known while the stream's server does not answer."
MEGABYTE: Final = 1_000_000


def stream_checks(client: "redis.Redis", *, vital: bool) -> list[Check]:
    """Whether the stream's server answers, and would take a write. `vital`: whether the process lives by writing."""
    found = _stream_faults(client)
    down = CheckName.STREAM in found
    return [
        Check(name=CheckName.STREAM, ok=not down, vital=True, detail=found.get(CheckName.STREAM, "")),
        *(
            Check(name=name, ok=name not in found, vital=vital, detail=UNKNOWN if down else found.get(name, ""))
            for name in (CheckName.STREAM_DISK, CheckName.STREAM_MEMORY)
        ),
    ]


def room_checks(client: "redis.Redis", bytes_max: int) -> list[Check]:
    """Whether the stream may take more, and whether the sink is far behind it."""
    try:
        waiting = read_waiting(client)
    except StreamDown:
        room, keeps_up, detail = True, True, UNKNOWN
    else:
        room = waiting.bytes < bytes_max
        keeps_up = waiting.bytes <= bytes_max * BACKLOG_SHARE_MAX and waiting.oldest_seconds <= BACKLOG_SECONDS_MAX
        detail = (
            f"{waiting.bytes / MEGABYTE:.1f} of {bytes_max / MEGABYTE:.1f} MB wait for the sink, the oldest for"
            f" {waiting.oldest_seconds:.0f} s."
        )
    return [
        Check(name=CheckName.STREAM_ROOM, ok=room, vital=True, detail=detail),
        Check(name=CheckName.SINK, ok=keeps_up, vital=False, detail=detail),
    ]


def reader_checks(watermarks: Watermarks, now_ms: int) -> list[Check]:
    """Whether the log and the read models are up to date; vital until their makers have spoken for the first time."""
    try:
        log, models = watermarks.read("log"), watermarks.read("read-models")
    except StreamDown:
        return [
            Check(name=name, ok=True, vital=False, detail=UNKNOWN) for name in (CheckName.SINK, CheckName.PROJECTOR)
        ]
    age_ms = now_ms - log.received if log is not None else 0
    lag_ms = log.received - models.received if log is not None and models is not None else 0
    behind = log is not None and models is not None and log.rows > models.rows and lag_ms > LAG_MS_MAX
    return [
        _reader(CheckName.SINK, log, age_ms <= LOG_AGE_MS_MAX, f"The log is complete up to {age_ms / 1000:.0f} s ago."),
        _reader(
            CheckName.PROJECTOR,
            models,
            not behind,
            f"The read models are {max(lag_ms, 0) / 1000:.0f} s behind the log.",
        ),
    ]


def store_checks(store: Store) -> list[Check]:
    """Whether the store answers."""
    answers = store.ping()
    return [
        Check(name=CheckName.STORE, ok=answers, vital=True, detail="" if answers else "ClickHouse refuses or is away.")
    ]


def _stream_faults(client: "redis.Redis") -> Mapping[CheckName, str]:
    try:
        client.set(PROBE, b"", xx=True)
    except OutOfMemoryError:
        return {CheckName.STREAM_MEMORY: "The server has reached its maxmemory."}
    except BusyLoadingError:
        return {CheckName.STREAM: "The server is reading back what it has on disk."}
    except ResponseError as error:
        if str(error).startswith("MISCONF"):
            return {CheckName.STREAM_DISK: "The server takes no writes since it failed to write to its disk."}
        return {CheckName.STREAM: f"The server refuses ({str(error).partition(' ')[0]})."}
    except (redis.RedisError, OSError) as error:
        return {CheckName.STREAM: f"The server does not answer ({type(error).__name__})."}
    return {}


def _reader(name: CheckName, mark: Watermark | None, ok: bool, detail: str) -> Check:
    if mark is None:
        return Check(name=name, ok=False, vital=True, detail="It has not said yet up to when it has read.")
    return Check(name=name, ok=ok, vital=False, detail=detail)
