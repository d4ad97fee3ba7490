"""One running service for the tests that leave it as good as they found it."""

from collections.abc import Iterator

import pytest

from tests.journey.driver import System

UNLIMITED = {
    "TRUYVET_DEVICE_REQUESTS_PER_SECOND": "1000000",
    "TRUYVET_DEVICE_SCANS_PER_SECOND": "1000000",
}
"""Each attack alone is meant to meet its own defence, not the rate limit."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole service with no rate limit that matters."""
    with System(tmp_path_factory.mktemp("hostile"), **UNLIMITED) as system:
        yield system
