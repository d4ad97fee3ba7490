"""As many requests as a load will need, made before its clock starts."""

import math
from typing import Final

import msgspec

from loadtests.bench.bodies import Order, Request
from loadtests.bench.client import Outcome
from loadtests.bench.session import Session
from loadtests.bench.trial import Trial

PROBE_SECONDS_MAX: Final = 10.0
HEADROOM: Final = 1.4
"""How much more is made ready than the probe says will be needed."""
READY_BYTES_MAX: Final = 4_500_000_000
"""Requests held ready in memory."""


def made_ready(session: Session, trial: Trial, order: Order, *, connections: int, seconds: float) -> list[Request]:
    """Requests for a closed loop of so many seconds, signed as of now.

    The order's own requests are sent first: they warm everything up and show how many will be needed.
    """
    session.say(
        f"warming up with {order.requests:,} requests of {order.scans:,} scans ({order.format}, {order.encoding})"
    )
    probe = trial.make(order)
    outcome = trial.load(probe, connections=connections, seconds=PROBE_SECONDS_MAX)
    trial.await_log()
    per_second = _warm_rate(outcome)
    bytes_each = sum(len(request.data) for request in probe) / len(probe)
    count = min(math.ceil(per_second * seconds * HEADROOM), int(READY_BYTES_MAX / bytes_each))
    session.say(f"{per_second:,.0f} requests/s; making {count:,} ({count * bytes_each / 1_000_000:,.0f} MB)")
    return trial.make(msgspec.structs.replace(order, requests=count))


def _warm_rate(outcome: Outcome) -> float:
    """Answers a second once the first third had come."""
    answered = outcome.answered
    first = len(answered) // 3
    return (len(answered) - first) / (answered[-1] - answered[first])
