"""ingest.batch.*: signed batches, each scan's personal code opened and checked, accepted and in the log."""

from typing import Final

from loadtests.bench.baselines import PIPELINED_XADD, pipelined_xadd
from loadtests.bench.bodies import Format
from loadtests.bench.full_load import full_load, headline
from loadtests.bench.report import Result
from loadtests.bench.session import Session

TARGETS: Final[dict[Format, float]] = {"msgpack": 400_000, "json": 200_000}
RATIO_TARGETS: Final[dict[Format, float]] = {"msgpack": 8.0, "json": 0.0}
PLAIN_PART: Final = 1 / 3
"""The uncompressed variant runs for this part of the time."""


def msgpack(session: Session) -> Result:
    """ingest.batch.msgpack."""
    return _batch(session, "msgpack")


def json(session: Session) -> Result:
    """ingest.batch.json."""
    return _batch(session, "json")


def _batch(session: Session, format: Format) -> Result:
    """Compressed bodies, as gateways send them; uncompressed ones beside."""
    baseline = pipelined_xadd(session)
    load = headline(session, format)
    plain = full_load(session, format, "identity", session.sizes.seconds * PLAIN_PART)
    target, ratio = TARGETS[format], RATIO_TARGETS[format]
    return Result(
        bench=f"ingest.batch.{format}",
        value=load.rate,
        unit="scans/s",
        baseline=PIPELINED_XADD,
        baseline_value=baseline,
        target=f"≥ {target:,.0f} scans/s" + (f", ≥ {ratio:g} × the baseline" if ratio else ""),
        met=not load.ran_out and load.rate >= target and load.rate >= ratio * baseline,
        progress=load.rate / target,
        figures=load.figures() | {"uncompressed": {"value": plain.rate, **plain.figures()}},
        failures=load.failures + plain.failures,
    )
