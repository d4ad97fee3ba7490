"""What the benches of one run share: the world with its codes, the generators, fresh directories, the machine's state.

A load that several benches look at from different sides runs once.
"""

import contextlib
import functools
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from app.clock import now_ms
from loadtests.bench.bodies import Generators
from loadtests.bench.codes import person_codes
from loadtests.bench.report import Say
from loadtests.bench.system import Directories, System, key_file, register, registrations
from loadtests.bench.trial import Trial
from loadtests.bench.world import World, new_world

SCANS_PER_SECOND_MAX: Final = 1_000_000
"""No load is expected to pass this; the world's devices have time for as many scans."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured. Seconds are those of the headline loads; the others take a part of them."""

    seconds: float
    workers: int
    devices: int = 200
    people: int = 100_000
    batch_scans: int = 1_000
    probe_requests: int = 600
    backlog_scans: int = 10_000_000
    visible_scans_per_second: int = 50_000
    baseline_seconds: float = 5.0


def quick(workers: int) -> Sizes:
    """Enough to see that everything works, in some seconds."""
    return Sizes(
        seconds=1.0,
        workers=workers,
        devices=64,
        people=500,
        batch_scans=200,
        probe_requests=48,
        backlog_scans=20_000,
        visible_scans_per_second=5_000,
        baseline_seconds=0.3,
    )


class Population(msgspec.Struct, frozen=True):
    """The world, the key file that its codes were issued with, and the codes."""

    world: World
    key_file: Path
    codes: bytes


class Session:
    """One run; a context manager."""

    def __init__(self, sizes: Sizes, parent: Path, say: Say) -> None:
        """`parent`: where the run's directories are made."""
        self.sizes: Final = sizes
        self.say: Final = say
        self._exits: Final = contextlib.ExitStack()
        self._directories: Final = Directories(parent)

    def __enter__(self) -> Self:
        self._exits.enter_context(self._directories)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    @functools.cached_property
    def population(self) -> Population:
        """The world, its key file and its codes: made once."""
        sizes = self.sizes
        scans = max(int(sizes.seconds * SCANS_PER_SECOND_MAX), sizes.backlog_scans)
        world = new_world(seed=1, devices=sizes.devices, people=sizes.people, scans=scans, now_ms=now_ms())
        path, secrets = key_file(self.directory("keys"))
        self.say(f"issuing {sizes.people:,} personal codes")
        return Population(world, path, person_codes(secrets, world))

    @functools.cached_property
    def generators(self) -> Generators:
        """The processes that make requests."""
        return self._exits.enter_context(Generators(self.population.world, self.population.codes))

    def directory(self, name: str) -> Path:
        """A fresh directory, removed at the end of the run."""
        return self._directories.fresh(name)

    def trial(self, name: str, *, keep: bool = False, **settings: str) -> Trial:
        """A fresh service that knows the world, and the account of what it is sent. `keep` its data with the session.

        `settings` are variables that differ from the defaults.
        """
        population = self.population
        system = System(
            self.directory(name),
            population.key_file,
            **{"TRUYVET_INGEST_WORKERS": str(self.sizes.workers)} | settings,
        )
        register(system.settings, registrations(population.world), recorded_ms=now_ms())
        return Trial(system, population.world, self.generators, keep=keep)
