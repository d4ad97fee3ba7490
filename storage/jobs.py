"""How long work is told of while it goes on: a record for each job in Redis, seen by every process that is asked.

A job lives in the process that does it. That process renews a sign of life which runs out by itself: a job that is not
over and has none was interrupted with its process, and nobody goes on with it.
"""

import enum
from collections.abc import Iterable
from typing import Final, cast

import msgspec
import redis

from events import codec
from events.problems import JOB_INTERRUPTED, Problem
from storage.errors import StreamDown
from storage.partitions import shared_key

KEPT_SECONDS: Final = 86_400
"""So long a job's record can be read; the trace that it made stays."""
ALIVE_SECONDS: Final = 15
"""A process that has not renewed its sign of life for so long is gone."""
LISTED_MAX: Final = 1_000
BY_TIME: Final = shared_key("jobs")
"""A sorted set: the ids of jobs by when they were asked for (Unix ms)."""


class JobState(enum.StrEnum):
    """Where a job stands. The last four are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


OVER: Final = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED})


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job as anybody may read of it: nothing about a person. `asked_at` in Unix ms.

    `token` is the id of the token that asked, `actor` its name. `read` of `known` people are read; more may become
    known. `trace` is the saved answer once it is done, `problem` why it failed.
    """

    id: str
    actor: str
    token: str
    asked_at: int
    state: JobState
    read: int = 0
    known: int = 0
    trace: str | None = None
    contacts: int | None = None
    problem: Problem | None = None


class JobBoard:
    """The records of all jobs. Every method raises `StreamDown`."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis: Final = client

    def post(self, record: JobRecord) -> None:
        """Make a job known, or tell how far it is; while it is not over, this renews its sign of life."""
        try:
            pipeline = self._redis.pipeline()
            pipeline.set(_record(record.id), codec.to_json(record), ex=KEPT_SECONDS)
            pipeline.zadd(BY_TIME, {record.id: record.asked_at})
            pipeline.zremrangebyrank(BY_TIME, 0, -LISTED_MAX - 1)
            if record.state in OVER:
                pipeline.delete(_alive(record.id), _cancelled(record.id))
            else:
                pipeline.set(_alive(record.id), b"", ex=ALIVE_SECONDS)
            pipeline.execute()
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def read(self, job_id: str) -> JobRecord | None:
        """A job as it stands, or None where there is none of this id, or no longer."""
        return next(iter(self._read([job_id])), None)

    def newest(self, limit: int) -> list[JobRecord]:
        """The jobs asked for last, newest first."""
        try:
            ids = cast(list[bytes], self._redis.zrevrange(BY_TIME, 0, limit - 1))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return self._read(job_id.decode() for job_id in ids)

    def cancel(self, job_id: str) -> None:
        """Ask the process that does the job to stop."""
        try:
            self._redis.set(_cancelled(job_id), b"", ex=KEPT_SECONDS)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def is_cancelled(self, job_id: str) -> bool:
        """Whether somebody asked for it to stop."""
        try:
            return bool(self._redis.exists(_cancelled(job_id)))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def _read(self, ids: Iterable[str]) -> list[JobRecord]:
        wanted = list(ids)
        try:
            # Signs of life first: a job that ends in between is read as over, never as interrupted.
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in wanted:
                pipeline.exists(_alive(job_id))
            for job_id in wanted:
                pipeline.get(_record(job_id))
            answers = cast(list[bytes | int | None], pipeline.execute())
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        found: list[JobRecord] = []
        for alive, text in zip(answers[: len(wanted)], answers[len(wanted) :], strict=True):
            if isinstance(text, bytes):
                record = codec.from_json(text, JobRecord)
                found.append(record if alive or record.state in OVER else _interrupted(record))
        return found


def _interrupted(record: JobRecord) -> JobRecord:
    return msgspec.structs.replace(record, state=JobState.INTERRUPTED, problem=JOB_INTERRUPTED.problem())


def _record(job_id: str) -> str:
    return shared_key(f"job:{job_id}")


def _alive(job_id: str) -> str:
    return shared_key(f"job-alive:{job_id}")


def _cancelled(job_id: str) -> str:
    return shared_key(f"job-cancelled:{job_id}")
