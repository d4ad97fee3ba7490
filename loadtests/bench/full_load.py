"""The full load: as many batches as the service takes, with everything running, until the log holds all of it."""

import functools
import time
from typing import Any, Final

import msgspec

from app.settings import Settings
from loadtests.bench.bodies import Encoding, Format, Order
from loadtests.bench.check import Verdict
from loadtests.bench.client import Outcome
from loadtests.bench.figures import latency
from loadtests.bench.processes import Usages, cpu_between
from loadtests.bench.ready import made_ready
from loadtests.bench.session import Session

CONNECTIONS: Final = 16
MILLION: Final = 1_000_000


class Sample(msgspec.Struct, frozen=True):
    """Every process's usage at a moment (monotonic seconds)."""

    at: float
    usages: Usages


class FullLoad(msgspec.Struct, frozen=True, kw_only=True):
    """One load and what came of it. `rate`: scans a second from the first byte sent to the log holding all of them.

    `settings` are those of the service, which is stopped; `rows` are all that its log holds. `samples` were taken
    about once a second, from the first byte sent until the log held everything.
    """

    rate: float
    outcome: Outcome
    ran_out: bool
    """Whether the load ended before its time because too few requests were made ready for it."""
    logged_seconds: float
    visible_seconds: float
    settled_seconds: float | None
    """Until the stays were settled, where that was waited for."""
    cpu_seconds: dict[str, float]
    samples: list[Sample]
    bytes_sent: int
    verdict: Verdict
    faults: list[str]
    settings: Settings

    @property
    def failures(self) -> list[str]:
        """Checks that did not hold."""
        return self.faults + self.verdict.failures()

    def figures(self) -> dict[str, Any]:
        """What a line says of it beside the rate."""
        outcome = self.outcome
        return {
            "scans": outcome.scans,
            "sent_seconds": round(outcome.seconds, 2),
            "logged_seconds": round(self.logged_seconds, 2),
            "visible_seconds": round(self.visible_seconds, 2),
            "settled_seconds": round(self.settled_seconds, 2) if self.settled_seconds is not None else None,
            "acknowledged_per_second": round(outcome.scans / outcome.seconds),
            "ran_out_of_requests": self.ran_out,
            "waited": outcome.waited,
            "bytes_per_scan_sent": round(self.bytes_sent / outcome.scans, 1),
            "ack": latency(outcome),
            "cpu_seconds": self.cpu_seconds,
            "cpu_seconds_per_million_scans": per_million(self.cpu_seconds, outcome.scans),
            "check": self.verdict,
        }


@functools.cache
def headline(session: Session, format: Format) -> FullLoad:
    """The load of a format, compressed as gateways send it, for the whole time. Run once a session; its data stays."""
    return full_load(session, format, "zstd", session.sizes.seconds, keep=True)


def full_load(session: Session, format: Format, encoding: Encoding, seconds: float, *, keep: bool = False) -> FullLoad:
    """Run the load against a fresh service and check its log."""
    with session.trial(f"{format}-{encoding}", keep=keep) as trial:
        order = Order(session.sizes.probe_requests, session.sizes.batch_scans, format, encoding)
        ready = made_ready(session, trial, order, connections=CONNECTIONS, seconds=seconds)
        session.say(f"sending batches for {seconds:.0f} s")
        samples: list[Sample] = []

        def sample(outcome: Outcome) -> None:
            samples.append(Sample(time.monotonic(), trial.system.usages()))

        outcome = trial.load(ready, connections=CONNECTIONS, seconds=seconds, on_tick=sample)
        session.say(f"{outcome.scans:,} scans acknowledged in {outcome.seconds:.1f} s; waiting for the log")
        logged = trial.await_log()
        sample(outcome)
        cpu_seconds = cpu_between(samples[0].usages, samples[-1].usages)
        session.say(f"in the log {logged - outcome.ended:.1f} s later; waiting for the read models")
        visible = trial.await_read_models()
        if keep:
            session.say(f"visible {visible - outcome.ended:.1f} s after the last scan; waiting for the stays")
        settled = trial.await_settled() if keep else None
        spent = ", ".join(f"{name} {each}" for name, each in per_million(cpu_seconds, outcome.scans).items())
        session.say(f"CPU µs a scan: {spent}; checking the log row by row")
        verdict = trial.verdict()
    return FullLoad(
        rate=outcome.scans / (logged - outcome.began),
        outcome=outcome,
        ran_out=len(outcome.acknowledged) == len(ready),
        logged_seconds=logged - outcome.began,
        visible_seconds=visible - outcome.began,
        settled_seconds=settled - outcome.began if settled is not None else None,
        cpu_seconds=cpu_seconds,
        samples=samples,
        bytes_sent=sum(len(ready[place].data) for place in outcome.acknowledged),
        verdict=verdict,
        faults=trial.faults,
        settings=trial.system.settings,
    )


def per_million(cpu_seconds: dict[str, float], scans: int) -> dict[str, float]:
    """CPU seconds for a million scans, which are µs a scan."""
    return {name: round(spent / scans * MILLION, 3) for name, spent in cpu_seconds.items()}
