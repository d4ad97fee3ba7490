"""Ten thousand hostile requests of every kind at a running service; `make hostile` sends a hundred thousand."""

import functools
from pathlib import Path

from loadtests.hostile.campaign import Campaign
from tests.hostile.conftest import UNLIMITED
from tests.journey.driver import System
from tests.journey.store_reader import rows_of

REQUESTS = 10_000


def test_nothing_hostile_is_taken_and_the_log_holds_what_was_acknowledged(tmp_path: Path) -> None:
    with System(tmp_path, **UNLIMITED) as system:
        campaign = Campaign(system.settings, seed=1)
        report = campaign.run(REQUESTS)
        assert report.faults == []
        system.await_log()
    assert report.requests == REQUESTS
    assert report.acknowledged > REQUESTS / 50
    assert campaign.audit(functools.partial(rows_of, system.settings)) == []
