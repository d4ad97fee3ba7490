"""Traces that take their time: asked now, answered later, with progress and a way to stop.

A few jobs wait in this process and one at a time is worked on, so that short questions keep most of the machine. Only
what says nothing about a person is told of a job (`storage.jobs`); its question lives in this process alone, and ends
with it.
"""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from events import problems
from events.access import Token
from events.problems import Problem, ProblemError
from storage.errors import StoreDown, StreamDown
from storage.jobs import OVER, JobBoard, JobRecord, JobState
from tracing.asker import Asker
from tracing.bounds import AS_JOB
from tracing.question import Question

JOBS_WAITING_MAX: Final = 8
"""So many wait behind the one that is worked on; more are refused."""
BEAT_SECONDS: Final = 2.0
"""So often a job tells how far it is, and looks whether it is to stop."""
STOP_SECONDS_MAX: Final = 5.0
ID_BYTES: Final = 16

log: Final = logging.getLogger("truyvet.trace")


class _Stopped(Exception):
    """Ends a trace from within: it was cancelled, or the process ends."""


class _Job:
    """A job of this process. `cancelled` is set by the beat, `record` by the worker and the beat under the lock."""

    def __init__(self, record: JobRecord, token: Token, question: Question, purpose: str) -> None:
        self.record = record
        self.token: Final = token
        self.question: Final = question
        self.purpose: Final = purpose
        self.cancelled: Final = threading.Event()


class Jobs:
    """The jobs of this process, and what is known of those of all. Threads begin with the first job."""

    def __init__(
        self,
        board: JobBoard,
        asker: Asker,
        *,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        """`clock` gives Unix ms, `random` that many random bytes."""
        self._board: Final = board
        self._asker: Final = asker
        self._clock: Final = clock
        self._random: Final = random
        self._beat_seconds: Final = beat_seconds
        self._live: Final[dict[str, _Job]] = {}
        self._waiting: Final[deque[_Job]] = deque()
        self._changed: Final = threading.Condition()
        self._stopping: Final = threading.Event()
        self._threads: Final[list[threading.Thread]] = []

    def begin(self, token: Token, question: Question, purpose: str) -> JobRecord:
        """A new job. Raises JOBS_FULL as `ProblemError`, and `StreamDown`: then there is none."""
        record = JobRecord(
            id=self._random(ID_BYTES).hex(),
            actor=token.name,
            token=token.id,
            asked_at=self._clock(),
            state=JobState.WAITING,
        )
        with self._changed:
            if len(self._waiting) >= JOBS_WAITING_MAX or self._stopping.is_set():
                raise ProblemError(problems.JOBS_FULL.problem(f"{len(self._waiting)} jobs wait here."))
            self._board.post(record)
            job = _Job(record, token, question, purpose)
            self._live[record.id] = job
            self._waiting.append(job)
            self._start()
            self._changed.notify_all()
        return record

    def read(self, job_id: str) -> JobRecord | None:
        """A job of any process as it stands. Raises `StreamDown`."""
        return self._board.read(job_id)

    def newest(self, limit: int) -> list[JobRecord]:
        """The jobs of all processes that were asked for last, newest first. Raises `StreamDown`."""
        return self._board.newest(limit)

    def cancel(self, job_id: str) -> JobRecord | None:
        """Have a job of any process stopped; None where there is none.

        It ends within some seconds, at the next people that it reads. Raises JOB_OVER as `ProblemError`, `StreamDown`.
        """
        record = self._board.read(job_id)
        if record is None:
            return None
        if record.state in OVER:
            raise ProblemError(problems.JOB_OVER.problem(f"It is {record.state}."))
        self._board.cancel(job_id)
        job = self._live.get(job_id)
        if job is None:
            return record
        self._cancel(job)
        return job.record

    def stop(self) -> None:
        """Interrupt what goes on and what waits; it is told so, as far as it can be. For the end of the process."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(STOP_SECONDS_MAX)

    def _start(self) -> None:
        """Begin the threads, once. They end with the process: nothing is half done that matters."""
        if self._threads:
            return
        for target in (self._work, self._beat):
            thread = threading.Thread(target=target, name=f"jobs{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping.is_set())
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            self._do(job)

    def _do(self, job: _Job) -> None:
        try:
            self._tell(job, state=JobState.RUNNING)
            self._on_read(job, 0, 0)
            given = self._asker.ask(
                job.token,
                job.question,
                job.purpose,
                bounds=AS_JOB,
                on_read=lambda read, known: self._on_read(job, read, known),
                early=False,
            )
        except _Stopped:
            if job.cancelled.is_set():
                self._tell(job, state=JobState.CANCELLED)
            else:
                self._tell(job, state=JobState.INTERRUPTED, problem=problems.JOB_INTERRUPTED.problem())
        except ProblemError as error:
            self._fail(job, error.problem)
        except StoreDown:
            self._fail(job, problems.STORE_DOWN.problem())
        except StreamDown:
            self._fail(job, problems.STREAM_DOWN.problem("Redis does not answer."))
        except Exception as error:  # whatever it was, the job is over and whoever waits must be told
            log.error("internal error in a job: %s", type(error).__name__)
            self._fail(job, problems.INTERNAL.problem())
        else:
            self._tell(job, state=JobState.DONE, trace=given.answer.id, contacts=len(given.answer.contacts))

    def _cancel(self, job: _Job) -> None:
        """End it now where it waits; where it is worked on, the worker ends it."""
        job.cancelled.set()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                self._tell(job, state=JobState.CANCELLED)

    def _on_read(self, job: _Job, read: int, known: int) -> None:
        if job.cancelled.is_set() or self._stopping.is_set():
            raise _Stopped
        job.record = msgspec.structs.replace(job.record, read=read, known=known)

    def _fail(self, job: _Job, problem: Problem) -> None:
        self._tell(job, state=JobState.FAILED, problem=problem)

    def _tell(
        self,
        job: _Job,
        *,
        state: JobState,
        trace: str | None = None,
        contacts: int | None = None,
        problem: Problem | None = None,
    ) -> None:
        """Where the stream is down nobody can be told now; the beat tells it as soon as the stream is back."""
        with self._changed:
            job.record = msgspec.structs.replace(
                job.record, state=state, trace=trace, contacts=contacts, problem=problem
            )
            with contextlib.suppress(StreamDown):
                self._post(job)

    def _post(self, job: _Job) -> None:
        """Tell how it stands; once its end is told, it is nothing of this process any more."""
        self._board.post(job.record)
        if job.record.state in OVER:
            self._live.pop(job.record.id, None)

    def _beat(self) -> None:
        while not self._stopping.wait(self._beat_seconds):
            with self._changed:
                live = list(self._live.values())
            for job in live:
                with contextlib.suppress(StreamDown):
                    self._renew(job)

    def _renew(self, job: _Job) -> None:
        if self._board.is_cancelled(job.record.id):
            self._cancel(job)
        with self._changed:
            if job.record.id in self._live:
                self._post(job)
