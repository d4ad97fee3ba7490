"""ingest.single: requests of one scan, each signed, as doors send them."""

import functools
from typing import Final

import msgspec

from loadtests.bench.bodies import Order
from loadtests.bench.check import Verdict
from loadtests.bench.client import Outcome
from loadtests.bench.figures import latency
from loadtests.bench.full_load import per_million
from loadtests.bench.processes import cpu_between
from loadtests.bench.ready import made_ready
from loadtests.bench.report import Result
from loadtests.bench.roofline import CONNECTIONS, Roofline, roofline
from loadtests.bench.session import Session

TIME_PART: Final = 1 / 3
ROOFLINE_PART_MIN: Final = 0.7
ROOFLINE_REQUESTS: Final = 2_000
"""How many different requests the empty handler is sent."""


class Singles(msgspec.Struct, frozen=True, kw_only=True):
    """The load and its roofline. `rate`: requests acknowledged a second; `logged_rate`: also in the log."""

    outcome: Outcome
    logged_rate: float
    entry_bytes: int
    roofline: Roofline
    cpu_seconds: dict[str, float]
    verdict: Verdict
    faults: list[str]

    @property
    def rate(self) -> float:
        """Requests acknowledged a second."""
        return len(self.outcome.acknowledged) / self.outcome.seconds


def run(session: Session) -> Result:
    """The rate beside its roofline."""
    singles = singles_load(session)
    roof = singles.roofline
    return Result(
        bench="ingest.single",
        value=singles.rate,
        unit="requests/s",
        baseline="requests/s of empty handler + verify + durable XADD",
        baseline_value=roof.rate,
        target=f"≥ {ROOFLINE_PART_MIN} of the roofline",
        met=singles.rate >= ROOFLINE_PART_MIN * roof.rate,
        progress=singles.rate / (ROOFLINE_PART_MIN * roof.rate),
        figures={
            "logged_per_second": round(singles.logged_rate),
            "ack": latency(singles.outcome),
            "entry_bytes": singles.entry_bytes,
            "roofline": {name: round(getattr(roof, name)) for name in roof.__struct_fields__},
            "cpu_seconds": singles.cpu_seconds,
            "cpu_seconds_per_million_requests": per_million(singles.cpu_seconds, singles.outcome.scans),
            "check": singles.verdict,
        },
        failures=singles.faults + singles.verdict.failures(),
    )


@functools.cache
def singles_load(session: Session) -> Singles:
    """Run the load against a fresh service, check its log, measure the roofline; once a session."""
    seconds = session.sizes.seconds * TIME_PART
    with session.trial("single") as trial:
        order = Order(session.sizes.probe_requests * 5, 1)
        requests = made_ready(session, trial, order, connections=CONNECTIONS, seconds=seconds)
        entries_before, bytes_before = trial.batches, trial.system.stream_bytes_ever()
        session.say(f"sending single scans for {seconds:.0f} s")
        before = trial.system.usages()
        outcome = trial.load(requests, connections=CONNECTIONS, seconds=seconds)
        logged = trial.await_log()
        cpu_seconds = cpu_between(before, trial.system.usages())
        entry_bytes = (trial.system.stream_bytes_ever() - bytes_before) // (trial.batches - entries_before)
        session.say("checking the log row by row")
        verdict = trial.verdict()
    return Singles(
        outcome=outcome,
        logged_rate=outcome.scans / (logged - outcome.began),
        entry_bytes=entry_bytes,
        roofline=roofline(session, requests[:ROOFLINE_REQUESTS], entry_bytes),
        cpu_seconds=cpu_seconds,
        verdict=verdict,
        faults=trial.faults,
    )
