"""Small worlds: the same for every run of the tests."""

import datetime
from typing import Final

import pytest

from app.simulate.plan import VIETNAM, Plan
from app.simulate.wallet import Wallet
from app.simulate.world import World, build_world
from keys.secrets import ServerSecrets, new_secrets

NOON: Final = int(datetime.datetime(2021, 10, 22, 12, 0, tzinfo=VIETNAM).timestamp()) * 1000
"""A Friday."""
SMALL: Final = Plan(people=120, days=4, seed=7, end=NOON)
BUSY: Final = Plan(people=400, days=9, seed=3, end=NOON)


@pytest.fixture(scope="session")
def world() -> World:
    """A small world that ends in the middle of a day."""
    return build_world(SMALL)


@pytest.fixture(scope="session")
def busy_world() -> World:
    """A world large enough for everything rare to happen in it."""
    return build_world(BUSY)


@pytest.fixture(scope="session")
def secrets() -> ServerSecrets:
    """A server's secrets, always the same ones."""
    draws = iter(range(1, 256))
    return new_secrets(lambda size: bytes([next(draws)]) * size, NOON)


@pytest.fixture(scope="session")
def wallet(world: World, secrets: ServerSecrets) -> Wallet:
    """The small world's codes."""
    return Wallet(world, secrets)
