"""How the stream's server, the store and those who read from them are: the parts' own words, as checks.

Nothing here raises: a part that does not answer is a finding.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import redis
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ResponseError

from events.readiness import Check, CheckName
from storage.backlog import ANSWER_SECONDS_MAX, read_waiting
from storage.clickhouse import Store
from storage.errors import StreamDown
from storage.partitions import Partition, ask_each
from storage.watermarks import Watermark, Watermarks

BACKLOG_SHARE_MAX: Final = 0.5
BACKLOG_SECONDS_MAX: Final = 30.0
"""How much of the stream's limit may wait, and for how long, before the sink is said to be behind."""
LOG_AGE_MS_MAX: Final = 30_000
LAG_MS_MAX: Final = 10_000
"""Beyond it a trace as of now is not answered."""
UNKNOWN: Final = "Not known while the stream's server does not answer."
MEGABYTE: Final = 1_000_000
PROBE_MS: Final = 100
"""How long replicas may take to say that they are there."""


def stream_checks(partitions: "Sequence[redis.Redis]", *, vital: bool, replicas: int = 0) -> list[Check]:
    """Whether every partition's server answers, and would take a write. `vital`: whether the process lives by writing.

    What fails of some partitions alone keeps nobody else from working, and is vital to none. `replicas`: how many must
    be there for anything to be acknowledged.
    """

    def faults(client: "redis.Redis", partition: Partition) -> Mapping[CheckName, str]:
        return _stream_faults(client, partition, replicas)

    found = [
        {CheckName.STREAM: "The server does not answer in time."} if answer is None else answer
        for answer in ask_each(partitions, faults, ANSWER_SECONDS_MAX)
    ]
    down = any(CheckName.STREAM in each for each in found)
    checks = [_over_partitions(CheckName.STREAM, [each.get(CheckName.STREAM, "") for each in found], vital=True)]
    for name in (CheckName.STREAM_DISK, CheckName.STREAM_MEMORY):
        check = _over_partitions(name, [each.get(name, "") for each in found], vital=vital)
        checks.append(Check(name=name, ok=True, vital=vital, detail=UNKNOWN) if check.ok and down else check)
    return checks


def _over_partitions(name: CheckName, faults: list[str], *, vital: bool) -> Check:
    """One check of what each partition's server was found to have, if anything."""
    failing = [number for number, fault in enumerate(faults) if fault]
    if not failing:
        return Check(name=name, ok=True, vital=vital)
    detail = faults[failing[0]]
    if len(faults) > 1:
        detail = f"{len(failing)} of {len(faults)} partitions, {failing[0]} among them: {detail}"
    return Check(name=name, ok=False, vital=vital and len(failing) == len(faults), detail=detail)


def room_checks(partitions: "Sequence[redis.Redis]", bytes_max: int) -> list[Check]:
    """Whether the stream may take more, and whether the sinks are far behind it. `bytes_max`: over all partitions."""
    share = bytes_max // len(partitions)
    try:
        parts = read_waiting(partitions)
    except StreamDown:
        return [Check(name=name, ok=True, vital=vital, detail=UNKNOWN) for name, vital in _ROOM_VITAL.items()]
    full = [part.bytes >= share for part in parts]
    behind = [part.bytes > share * BACKLOG_SHARE_MAX or part.oldest_seconds > BACKLOG_SECONDS_MAX for part in parts]
    worst = max(parts, key=lambda part: (part.bytes, part.oldest_seconds))
    detail = (
        f"{worst.bytes / MEGABYTE:.1f} of {share / MEGABYTE:.1f} MB wait for the sink, the oldest for"
        f" {worst.oldest_seconds:.0f} s."
    )
    return [
        Check(name=CheckName.STREAM_ROOM, ok=not any(full), vital=all(full) or not any(full), detail=detail),
        Check(name=CheckName.SINK, ok=not any(behind), vital=False, detail=detail),
    ]


_ROOM_VITAL: Final = {CheckName.STREAM_ROOM: True, CheckName.SINK: False}


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


def _stream_faults(client: "redis.Redis", partition: Partition, replicas: int) -> Mapping[CheckName, str]:
    try:
        # Never exists: to write to it only where it does is refused as every write would be, and writes nothing.
        client.set(partition.probe, b"", xx=True)
        there = client.waitaof(0, replicas, PROBE_MS)[1] if replicas else 0
    except (redis.RedisError, OSError) as error:
        return _fault(error)
    if there < replicas:
        return {CheckName.STREAM: "Too few replicas are there: nothing can be acknowledged."}
    return {}


def _fault(error: Exception) -> Mapping[CheckName, str]:
    match error:
        case OutOfMemoryError():
            return {CheckName.STREAM_MEMORY: "The server has reached its maxmemory."}
        case BusyLoadingError():
            return {CheckName.STREAM: "The server is reading back what it has on disk."}
        case ResponseError() if str(error).startswith("MISCONF"):
            return {CheckName.STREAM_DISK: "The server takes no writes since it failed to write to its disk."}
        case ResponseError():
            return {CheckName.STREAM: f"The server refuses ({str(error).partition(' ')[0]})."}
    return {CheckName.STREAM: f"The server does not answer ({type(error).__name__})."}


def _reader(name: CheckName, mark: Watermark | None, ok: bool, detail: str) -> Check:
    if mark is None:
        return Check(name=name, ok=False, vital=True, detail="It has not said yet up to when it has read.")
    return Check(name=name, ok=ok, vital=False, detail=detail)
