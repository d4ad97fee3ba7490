"""rebuild: all read models derived anew from the log, as `truyvet rebuild` does it, while the service runs."""

import secrets
import time
from typing import Final

from loadtests.bench.report import Result
from loadtests.bench.trace.asking import Asker, contacts_in
from loadtests.bench.trace.session import Session
from loadtests.bench.trace.truth import differences
from projections.projector import READ_MODELS
from storage.rebuilds import Rebuilds, RebuildStatus

TARGET: Final = 500_000.0
SCANS: Final = frozenset(model.table for model in READ_MODELS)
"""The read models that hold every scan."""
POLL_SECONDS: Final = 0.1
SECONDS_MAX: Final = 3_600.0


def run(session: Session) -> Result:
    """Scans a second from the request until the new read models are in place, the comparison included."""
    whole = session.whole
    whole.up()
    scans = whole.scans + whole.scans_since
    session.say(f"rebuilding the read models of {scans:,} scans")
    began = time.monotonic()
    status, folded = _followed(Rebuilds(whole.up().redis), began)
    seconds = time.monotonic() - began
    assert whole.caught_up is not None
    rate = scans / seconds
    return Result(
        bench="rebuild",
        value=rate,
        unit="scans/s",
        baseline="scans/s, when they were derived first, with the service's start",
        baseline_value=whole.caught_up.scans / whole.caught_up.settled_seconds,
        target=f"≥ {TARGET:,.0f} scans/s",
        met=rate >= TARGET,
        progress=rate / TARGET,
        figures={
            "scans": scans,
            "seconds": round(seconds, 2),
            "seconds_until_compared": round(folded, 2),
            "read_models": {model.table: model.rows_rebuilt for model in status.models},
        },
        failures=_failures(session, status, scans),
    )


def _followed(rebuilds: Rebuilds, began: float) -> tuple[RebuildStatus, float]:
    """The last status of a rebuild, and the seconds until it said for the last time that scans were left to fold."""
    name = f"bench-{secrets.token_hex(4)}"  # a kept service remembers the rebuilds of earlier runs
    rebuilds.request(name)
    folded = 0.0
    while time.monotonic() - began < SECONDS_MAX:
        status = rebuilds.status()
        if status is not None and status.id == name:
            if status.state == "done":
                return status, folded
            folded = time.monotonic() - began
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"the rebuild was not over after {SECONDS_MAX:.0f} s")


def _failures(session: Session, status: RebuildStatus, scans: int) -> list[str]:
    """What is not as it was, or not as the truth has it."""
    failures = [f"{model.table} differs from what it was" for model in status.models if not model.equal]
    for model in status.models:
        if model.table in SCANS and model.rows_rebuilt != scans:
            failures.append(f"{model.table} has {model.rows_rebuilt} scans, and the log {scans}")
    person = session.index[0]
    with Asker(session.whole.up()) as asker:
        found = contacts_in(asker.trace(session.subjects([person]), session.window).body)
    return failures + differences(
        session.truth.contacts([person], session.window), found, f"index subject {person}, after the rebuild"
    )
