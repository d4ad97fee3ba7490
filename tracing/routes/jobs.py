"""Jobs: how far a trace is that takes its time, and how to stop it."""

from typing import Annotated, Final

import msgspec
from litestar import Response, delete, get
from litestar.params import FromPath
from msgspec import Meta

from events import problems
from events.access import Role
from events.problems import Problem, ProblemError
from storage.jobs import JobRecord, JobState
from tracing.access import Permission
from tracing.decoding import decode_query
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply

JOBS_LISTED_MAX: Final = 100
JOBS_LISTED_DEFAULT: Final = 20


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A trace that is asked as a job: nothing about a person. `asked_at` in Unix ms.

    `read` of `known` people are read so far; more may become known on the way. When it is done, `result` is where the
    answer is, `trace` its id and `contacts` how many it holds; when it failed, or was interrupted, `problem` says why.
    """

    id: str
    actor: str
    asked_at: int
    state: JobState
    read: int
    known: int
    result: str | None
    trace: str | None
    contacts: int | None
    problem: Problem | None


class JobList(msgspec.Struct, frozen=True):
    """The jobs asked for last, newest first."""

    items: list[Job]


class JobsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many jobs to list."""

    limit: Annotated[int, Meta(ge=1, le=JOBS_LISTED_MAX, description="How many jobs")] = JOBS_LISTED_DEFAULT


LIST: Final = Operation(
    name="list_jobs",
    tag="Jobs",
    summary="List the jobs asked for last",
    text="Newest first, everybody's. A job's record is kept for a day; the trace that it made stays.",
    permission=Permission.TRACES,
    query=JobsQuery,
    successes=(Success(200, "The jobs", JobList),),
    problems=(problems.STREAM_DOWN,),
)
READ: Final = Operation(
    name="read_job",
    tag="Jobs",
    summary="How far is a job?",
    text=(
        "`waiting`, `running`, then `done`, `failed`, `cancelled`, or `interrupted`: the service ended while it worked"
        " on it. Nobody goes on with an interrupted job; ask again."
    ),
    permission=Permission.TRACES,
    successes=(Success(200, "The job as it stands", Job),),
    problems=(problems.NOT_FOUND, problems.STREAM_DOWN),
)
CANCEL: Final = Operation(
    name="cancel_job",
    tag="Jobs",
    summary="Stop a job",
    text="For whoever asked, and administrators. It ends within seconds; ask for its state to see that it has.",
    permission=Permission.TRACES,
    successes=(Success(202, "The job, which ends soon or has ended", Job),),
    problems=(problems.NOT_FOUND, problems.JOB_OVER, problems.STREAM_DOWN),
)


def shown_job(record: JobRecord) -> Job:
    """A job as it is answered."""
    return Job(
        id=record.id,
        actor=record.actor,
        asked_at=record.asked_at,
        state=record.state,
        read=record.read,
        known=record.known,
        result=f"/v1/traces/{record.trace}" if record.trace is not None else None,
        trace=record.trace,
        contacts=record.contacts,
        problem=record.problem,
    )


@get("/v1/jobs", opt={OPERATION: LIST}, sync_to_thread=True)
def list_jobs(request: Asked, parts: Given) -> Response[bytes]:
    """The jobs of every process."""
    query = decode_query(request.query_params.multi_items(), JobsQuery)
    return reply(JobList([shown_job(record) for record in parts.jobs.newest(query.limit)]))


@get("/v1/jobs/{job_id:str}", opt={OPERATION: READ}, sync_to_thread=True)
def read_job(request: Asked, job_id: FromPath[str], parts: Given) -> Response[bytes]:
    """One job, whichever process works on it."""
    record = parts.jobs.read(job_id)
    if record is None:
        raise ProblemError(problems.NOT_FOUND.problem("No job has this id; records are kept for a day."))
    return reply(shown_job(record))


@delete("/v1/jobs/{job_id:str}", opt={OPERATION: CANCEL}, status_code=202, sync_to_thread=True)
def cancel_job(request: Asked, job_id: FromPath[str], parts: Given) -> Response[bytes]:
    """Ask the process that works on it to stop."""
    record = parts.jobs.read(job_id)
    if record is None:
        raise ProblemError(problems.NOT_FOUND.problem("No job has this id; records are kept for a day."))
    if record.token != request.auth.id and request.auth.role is not Role.ADMIN:
        raise ProblemError(problems.ROLE_FORBIDDEN.problem("Only whoever asked, or an administrator, may stop it."))
    return reply(shown_job(parts.jobs.cancel(job_id) or record), 202)


ROUTES: Final = (list_jobs, read_job, cancel_job)
