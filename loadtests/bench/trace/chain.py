"""trace.chain: from some index subjects to their contacts, and to the contacts of each of those, forward in time.

Without evidence, which is most of the time where a hundred thousand people are told of; with it beside.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

from loadtests.bench.figures import Times
from loadtests.bench.report import Result
from loadtests.bench.trace.asking import Asker, Refused, contacts_in
from loadtests.bench.trace.one import Idle, asked
from loadtests.bench.trace.session import Session
from loadtests.bench.trace.truth import Window, differences

RATIO_MAX: Final = 20.0
PER_CONTACTS: Final = 1_000
ASKED: Final = 3


def run(session: Session) -> Result:
    """The p50 for a thousand contacts at depth 1, beside a trace of one index subject."""
    window, idle = session.window, asked(session)
    people = _leading_to(session, idle.contacts)
    session.say(f"asking for the contacts' contacts of {len(people)} people")
    try:
        with Asker(session.whole.up()) as asker:
            subjects = session.subjects(people)
            replies = [asker.trace(subjects, window, depth=2, evidence=False) for _ in range(ASKED)]
            proven = _proven(asker, subjects, window)
    except Refused as error:
        return _result(idle, 0.0, {}, [str(error)])
    session.say("holding the answer against the truth")
    found = contacts_in(replies[0].body)
    first = sum(contact.depth == 1 for contact in found)
    times = Times([1000 * reply.seconds * PER_CONTACTS / max(first, 1) for reply in replies])
    figures = {
        "p95": times.p95,
        "answer_ms": [round(1000 * reply.seconds, 1) for reply in replies],
        "index_subjects": len(people),
        "contacts_at_depth_1": first,
        "contacts_at_depth_2": len(found) - first,
        "answer_bytes": len(replies[0].body),
        "as_job": replies[0].as_job,
        "with_evidence": proven,
    }
    wanted = session.truth.contacts(people, window, depth=2)
    return _result(idle, times.p50, figures, differences(wanted, found, "the chain"))


def _proven(asker: Asker, subjects: Sequence[str], window: Window) -> dict[str, Any]:
    """What the same costs with the evidence; or what the service says to it."""
    try:
        reply = asker.trace(subjects, window, depth=2)
    except Refused as error:
        return {"refused": str(error)}
    return {"answer_ms": round(1000 * reply.seconds, 1), "answer_bytes": len(reply.body), "as_job": reply.as_job}


def _result(idle: Idle, p50: float, figures: dict[str, Any], failures: list[str]) -> Result:
    ratio = p50 / idle.warm.p50
    return Result(
        bench="trace.chain",
        value=p50,
        unit=f"ms (p50) for {PER_CONTACTS:,} contacts at depth 1",
        baseline="ms (p50), trace.one",
        baseline_value=idle.warm.p50,
        target=f"≤ {RATIO_MAX:.0f} × trace.one",
        met=0 < ratio <= RATIO_MAX,
        progress=RATIO_MAX / ratio if ratio else 0.0,
        figures=figures,
        failures=failures,
    )


def _leading_to(session: Session, contacts: list[int]) -> list[int]:
    """The first index subjects whose contacts, `contacts` each, come to as many as the bench wants."""
    before = [0, *accumulate(contacts)]
    return [person for person, had in zip(session.index, before, strict=False) if had < session.sizes.chain_f1]
