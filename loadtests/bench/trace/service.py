"""A service over a country's scans: its log filled in bulk, everything else derived by its own projector."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import msgspec

from app.settings import Settings
from events.control import ControlEvent
from loadtests.bench.processes import usage
from loadtests.bench.report import Say
from loadtests.bench.system import System, register
from loadtests.bench.trace.fill import Filled, filled
from loadtests.bench.trace.world import DAY_MS, Country

READY_SECONDS_MAX: Final = 600
"""Every process replays the registries first: half a million events in the largest country."""
QUIET_SECONDS: Final = 2.0
QUIET_PART: Final = 0.15
"""Quiet: the store spends no more than this part of a core over `QUIET_SECONDS`; its merges are over."""


class CaughtUp(msgspec.Struct, frozen=True):
    """The read models' way from nothing to the whole log: scans, and seconds since the service was started until traces
    saw them, and until stays were settled.
    """

    scans: int
    seconds: float
    settled_seconds: float


class Kept(msgspec.Struct, frozen=True):
    """What must be known of a service's data to start it again in a later run."""

    country: Country
    provinces: int
    filled: Filled
    caught_up: CaughtUp

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """What an earlier run has written; None where there is none."""
        return msgspec.json.decode(file.read_bytes(), type=cls) if file.exists() else None


class Service:
    """Starts and stops; its data stays. Filled when it is started first, unless an earlier run has."""

    def __init__(
        self,
        *,
        directory: Path,
        key_file: Path,
        country: Country,
        provinces: int,
        others: Callable[[], list[ControlEvent]],
        quiet_seconds_max: float,
        rest_seconds: float,
        say: Say,
        kept: Path | None = None,
    ) -> None:
        """`others`: what the registries hold before the country's places and devices.

        `kept`: the file that tells of data in `directory` that outlive the run, and is written where it is not there.
        """
        before = Kept.read(kept) if kept is not None else None
        self.country: Final = country
        self.filled: Filled | None = None if before is None else before.filled
        self.caught_up: CaughtUp | None = None if before is None else before.caught_up
        self.scans_since = 0
        """How many came in through the edge beyond those that the log was filled with."""
        self.system: System | None = None
        self._settings: Settings | None = None
        self._directory: Final = directory
        self._key_file: Final = key_file
        self._provinces: Final = provinces
        self._others: Final = others
        self._quiet_seconds_max: Final = quiet_seconds_max
        self._rest_seconds: Final = rest_seconds
        self._say: Final = say
        self._kept: Final = kept
        self._reopened = before is not None

    @property
    def scans(self) -> int:
        """How many scans the log was filled with."""
        assert self.filled is not None
        return self.filled.scans

    @property
    def settings(self) -> Settings:
        """The settings that it was started with first; where its data lies is the same in all."""
        assert self._settings is not None
        return self._settings

    def up(self) -> System:
        """The running service, once its read models hold everything and it has nothing left to do."""
        if self.system is None:
            system = self._system()
            self._settings = self._settings or system.settings
            if self.filled is None:
                self._fill(system)
            self._start(system)
        assert self.system is not None
        return self.system

    def restarted(self, **settings: str) -> System:
        """The service with other settings; `down` ends them."""
        self.down()
        system = self._system(**settings)
        self._start(system)
        return system

    def down(self) -> None:
        """Stop it, where it runs."""
        if self.system is not None:
            self.system.__exit__(None, None, None)
            self.system = None

    def await_quiet(self) -> float:
        """Wait until the store has nothing left to do, or for so long as is worth it; returns the seconds."""
        assert self.system is not None
        began = time.monotonic()
        pid = self.system.embedded.pids["store"]
        while time.monotonic() - began < self._quiet_seconds_max:
            before = usage(pid).cpu_seconds
            time.sleep(QUIET_SECONDS)
            if usage(pid).cpu_seconds - before <= QUIET_SECONDS * QUIET_PART:
                break
        return time.monotonic() - began

    def _system(self, **settings: str) -> System:
        return System(
            self._directory,
            self._key_file,
            **{"TRUYVET_READY_WAIT_SECONDS": str(READY_SECONDS_MAX)} | settings,
        )

    def _fill(self, system: System) -> None:
        country = self.country
        people, places = country.people * self._provinces, country.places * self._provinces
        self._say(f"laying the scans of {people:,} people at {places:,} places into the log")
        self.filled = done = filled(system.settings, country, self._provinces)
        self._say(f"{done.scans:,} scans at {done.scans / done.seconds:,.0f} a second; registering places and devices")
        recorded_ms = country.start_ms - DAY_MS
        register(system.settings, [*self._others(), *country.events()], recorded_ms=recorded_ms, scans=done.scans)

    def _start(self, system: System) -> None:
        began = time.monotonic()
        system.__enter__()
        self.system = system
        first = self.caught_up is None
        if first:
            self._say("waiting for the read models")
        reopened, self._reopened = self._reopened, False
        if reopened:
            system.await_rows("log", self.scans)
            self.scans_since = system.rows("log") - self.scans
        reached = system.await_rows("read-models", self.scans + self.scans_since)
        settled = system.await_settled(self.scans + self.scans_since)
        if first:
            self.caught_up = done = CaughtUp(self.scans, reached - began, settled - began)
            self._say(
                f"{done.scans / done.seconds:,.0f} scans/s until traces see them,"
                f" {done.scans / done.settled_seconds:,.0f} until stays are settled, with the service's start"
            )
            self._keep(done)
        if first or reopened:
            time.sleep(self._rest_seconds)
        self.await_quiet()

    def _keep(self, caught_up: CaughtUp) -> None:
        """Write down what a later run must know, where the data are kept."""
        if self._kept is not None and self.filled is not None:
            kept = Kept(self.country, self._provinces, self.filled, caught_up)
            self._kept.write_bytes(msgspec.json.encode(kept))
