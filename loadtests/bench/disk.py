"""disk: bytes a scan takes at rest, in the log, the read models and the evidence."""

from typing import Final

import msgspec

from events.scans import LOG_ROW
from loadtests.bench import at_rest
from loadtests.bench.at_rest import TableBytes
from loadtests.bench.full_load import headline
from loadtests.bench.report import Result
from loadtests.bench.session import Session
from projections.projector import READ_MODELS
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR

TOGETHER_MAX: Final = 150.0
WITHOUT_EVIDENCE_MAX: Final = 60.0


class BytesPerScan(msgspec.Struct, frozen=True):
    """By kind of table."""

    log: float
    read_models: float
    stays: float
    evidence: float

    @property
    def without_evidence(self) -> float:
        """Log and read models, those of stays among them."""
        return self.log + self.read_models + self.stays

    @property
    def together(self) -> float:
        """All of it."""
        return self.without_evidence + self.evidence


def run(session: Session) -> Result:
    """What the full load left behind, first as the engine itself settles it, then merged as far as it goes."""
    load = headline(session, "msgpack")
    session.say("waiting for the store to settle, then merging it")
    sizes = at_rest.measured(load.settings)
    settled, merged = (_per_scan(tables, load.verdict.rows) for tables in (sizes.settled, sizes.merged))
    return Result(
        bench="disk",
        value=settled.together,
        unit="bytes/scan",
        baseline="bytes of a scan's packed row in the stream",
        baseline_value=float(LOG_ROW.size),
        target=f"≤ {TOGETHER_MAX:.0f} together, ≤ {WITHOUT_EVIDENCE_MAX:.0f} without the evidence",
        met=settled.together <= TOGETHER_MAX and settled.without_evidence <= WITHOUT_EVIDENCE_MAX,
        progress=min(TOGETHER_MAX / settled.together, WITHOUT_EVIDENCE_MAX / settled.without_evidence),
        figures={
            "scans": load.verdict.rows,
            "settled": _shown(settled),
            "merged": _shown(merged),
            "settle_seconds": round(sizes.settle_seconds, 1),
            "parts_settled": {name: table.parts for name, table in sizes.settled.items()},
        },
        failures=load.failures,
    )


def _per_scan(tables: dict[str, TableBytes], scans: int) -> BytesPerScan:
    def of(*names: str) -> float:
        return sum(tables[name].bytes_on_disk for name in names) / scans

    return BytesPerScan(
        log=of("log"),
        read_models=of(*(model.table for model in READ_MODELS)),
        stays=of(STAYS_BY_PLACE_HOUR),
        evidence=of("evidence"),
    )


def _shown(each: BytesPerScan) -> dict[str, float]:
    return {
        "log": round(each.log, 2),
        "read_models": round(each.read_models, 2),
        "stays": round(each.stays, 2),
        "evidence": round(each.evidence, 2),
        "without_evidence": round(each.without_evidence, 2),
        "together": round(each.together, 2),
    }
