"""trace.one: one index subject, all fourteen days, evidence included, over HTTP."""

import functools
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from loadtests.bench.figures import Times, percentiles
from loadtests.bench.report import Result
from loadtests.bench.trace.asking import Asker, contacts_in
from loadtests.bench.trace.select_one import BASELINE, select_one_ms
from loadtests.bench.trace.session import Session
from loadtests.bench.trace.truth import differences
from loadtests.bench.trace.world import PROVINCES

P50_MS_MAX: Final = 25.0
P95_MS_MAX: Final = 60.0
RATIO_MAX: Final = 10.0
FLOOR_REQUESTS: Final = 50


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """One index subject at a time on a service that does nothing else.

    `first` are the answers to those who were asked about for the first time, in the order of `Session.index`; `warm`
    those that came after. `step_ms` is the mean of each of the service's steps over the latter. `unwaited` are answers
    as of the latest moment that traces see already. `floor_ms`: the p50 of a request for nothing.
    """

    first: Times
    warm: Times
    unwaited: Times
    contacts: list[int]
    answer_bytes: list[int]
    step_ms: dict[str, float]
    floor_ms: float
    failures: list[str]


def run(session: Session) -> Result:
    """The p50, warm, beside a `SELECT 1`."""
    idle = asked(session)
    baseline_ms = select_one_ms(session.directory("select-one"))
    p50, p95 = idle.warm.p50, idle.warm.p95
    parts = [P50_MS_MAX / p50, P95_MS_MAX / p95, RATIO_MAX * baseline_ms / p50]
    return Result(
        bench="trace.one",
        value=p50,
        unit="ms (p50)",
        baseline=BASELINE,
        baseline_value=baseline_ms,
        target=f"p50 ≤ {P50_MS_MAX:.0f}, p95 ≤ {P95_MS_MAX:.0f} ms, ≤ {RATIO_MAX:.0f} × SELECT 1",
        met=min(parts) >= 1,
        progress=min(parts),
        figures={
            "p95": p95,
            "first_time": {"p50": idle.first.p50, "p95": idle.first.p95},
            "as_of_watermark": {"p50": idle.unwaited.p50, "p95": idle.unwaited.p95},
            "asked": len(idle.warm.ms),
            "step_ms": idle.step_ms,
            "empty_request_ms": idle.floor_ms,
            **world_figures(session, idle),
        },
        failures=idle.failures,
    )


@functools.cache
def asked(session: Session) -> Idle:
    """Ask about everybody once, hold the answers against the truth, then ask again, warm. Once a session."""
    system = session.whole.up()
    truth, window = session.truth, session.window
    subjects = session.subjects(session.index)
    failures: list[str] = []
    contacts, sizes, first = [], [], []
    with Asker(system) as asker:
        session.say(f"asking about {len(subjects)} people, and holding the answers against the truth")
        for person, subject in zip(session.index, subjects, strict=True):
            reply = asker.trace([subject], window)
            found = contacts_in(reply.body)
            failures += differences(truth.contacts([person], window), found, f"index subject {person}")
            first.append(reply.seconds * 1000)
            contacts.append(len(found))
            sizes.append(len(reply.body))
        before = asker.step_seconds()
        warm = [1000 * asker.trace([subjects[turn]], window).seconds for turn in session.turns()]
        after = asker.step_seconds()
        unwaited = [
            1000 * asker.trace([subjects[turn]], window, as_of=asker.newest()).seconds for turn in session.turns()
        ]
        floor = [1000 * asker.nothing().seconds for _ in range(FLOOR_REQUESTS)]
    return Idle(
        first=Times(first),
        warm=Times(warm),
        unwaited=Times(unwaited),
        contacts=contacts,
        answer_bytes=sizes,
        step_ms={step: round(1000 * (after[step] - before[step]) / len(warm), 3) for step in after},
        floor_ms=percentiles(floor, 50)[0],
        failures=failures,
    )


def world_figures(session: Session, idle: Idle) -> dict[str, object]:
    """How much there is, and what the index subjects are like."""
    country, whole = session.country, session.whole
    filled, caught_up = whole.filled, whole.caught_up
    assert filled is not None
    assert caught_up is not None
    return {
        "rows": session.sizes.rows,
        "scans": filled.scans,
        "stays_in_a_tenth": len(session.truth.stays),
        "people": country.people * PROVINCES,
        "places": country.places * PROVINCES,
        "index_subjects": len(session.index),
        "stays_each": spread([len(session.truth.stays_of(person)) for person in session.index]),
        "contacts_each": spread(idle.contacts),
        "answer_bytes_each": spread(idle.answer_bytes),
        "fill_scans_per_second": round(filled.scans / filled.seconds),
        "catch_up_scans_per_second": round(caught_up.scans / caught_up.seconds),
        "settled_scans_per_second": round(caught_up.scans / caught_up.settled_seconds),
    }


def spread(values: Sequence[int]) -> dict[str, float]:
    """The least, the middle and the greatest of them."""
    return {"min": min(values), "p50": float(np.median(values)), "max": max(values)}
