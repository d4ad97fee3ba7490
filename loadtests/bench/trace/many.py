"""trace.many: thousands of index subjects in one question, without evidence: that would be gigabytes."""

import functools
from typing import Final

import msgspec

from loadtests.bench.figures import Times
from loadtests.bench.report import Result
from loadtests.bench.trace.asking import Asker, Refused, contacts_in
from loadtests.bench.trace.one import asked
from loadtests.bench.trace.session import Session
from loadtests.bench.trace.truth import differences

SECONDS_MAX: Final = 3.0
ASKED: Final = 3


class Many(msgspec.Struct, frozen=True, kw_only=True):
    """One question about `index` people, asked some times; `times` is None where the service refused it."""

    index: int
    contacts: int = 0
    answer_bytes: int = 0
    as_job: bool = False
    times: Times | None = None
    failures: list[str]


def run(session: Session) -> Result:
    """The p50, beside as many single questions."""
    many = asked_together(session)
    p50, p95 = (many.times.p50, many.times.p95) if many.times is not None else (0.0, 0.0)
    return Result(
        bench="trace.many",
        value=p50,
        unit="ms (p50)",
        baseline="ms, as many questions about one (p50) one after the other",
        baseline_value=asked(session).warm.p50 * many.index,
        target=f"≤ {SECONDS_MAX:.0f} s for {many.index:,} index subjects",
        met=many.times is not None and p50 <= SECONDS_MAX * 1000,
        progress=SECONDS_MAX * 1000 / p50 if p50 else 0.0,
        figures={
            "p95": p95,
            "index_subjects": many.index,
            "contacts": many.contacts,
            "answer_bytes": many.answer_bytes,
            "as_job": many.as_job,
        },
        failures=many.failures,
    )


@functools.cache
def asked_together(session: Session) -> Many:
    """Ask about many people at once, and hold the answer against the truth. Once a session."""
    window, people = session.window, session.many
    subjects = session.subjects(people)
    session.say(f"asking about {len(people):,} people at once")
    try:
        with Asker(session.whole.up()) as asker:
            replies = [asker.trace(subjects, window, evidence=False) for _ in range(ASKED)]
    except Refused as error:
        return Many(index=len(people), failures=[str(error)])
    session.say("holding the answer against the truth")
    found = contacts_in(replies[0].body)
    return Many(
        index=len(people),
        contacts=len(found),
        answer_bytes=len(replies[0].body),
        as_job=replies[0].as_job,
        times=Times([1000 * reply.seconds for reply in replies]),
        failures=differences(session.truth.contacts(people, window), found, f"{len(people):,} index subjects"),
    )
