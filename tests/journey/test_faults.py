"""Twenty-five rounds of the fault campaign: every process killed at every step, every link broken, nothing lost."""

from pathlib import Path

import pytest

from loadtests.faults.campaign import CampaignFailed, Report, campaign
from loadtests.faults.schedule import BLOCK_ROUNDS, scheduled
from loadtests.faults.steps import DECK

SEED = 1
EVERY_STEP = {f"{role} {step}" for role, step in DECK}


def played(first: int, rounds: int, directory: Path, *, hasty: bool = False) -> list[Report]:
    reports: list[Report] = []
    campaign(SEED, first, rounds, directory, hasty=hasty, on_report=reports.append)
    return reports


@pytest.mark.parametrize(
    ("mode", "first", "rounds"), [("embedded", 0, 12), ("server", BLOCK_ROUNDS, 13)], ids=["embedded", "server"]
)
def test_nothing_is_lost_doubled_or_altered(mode: str, first: int, rounds: int, tmp_path: Path) -> None:
    reports = played(first, rounds, tmp_path)
    assert [report.round for report in reports] == list(range(first, first + rounds))
    assert {report.mode for report in reports} == {mode}
    assert {step for report in reports for step in report.died_at} == EVERY_STEP
    assert all(report.acknowledged > 0 and report.deliveries > 0 for report in reports)
    assert list(tmp_path.iterdir()) == []


def test_a_sink_that_acknowledges_before_it_inserts_is_caught(tmp_path: Path) -> None:
    assert any(fault.step == "frozen" for fault in scheduled(SEED, 0).faults if hasattr(fault, "step"))
    with pytest.raises(CampaignFailed, match="missing") as caught:
        played(0, 2, tmp_path, hasty=True)
    assert caught.value.report.failure.startswith("Violation: missing")
    assert (caught.value.directory / "store.log").exists()
