"""One service under load, from its start to the check of its log: requests made for it, loads run, accounts kept."""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from loadtests.bench.bodies import Dealer, Generators, Order, Request
from loadtests.bench.check import Expected, Sent, Verdict, checked
from loadtests.bench.client import OnTick, Outcome, ignore_tick, run_load
from loadtests.bench.system import System
from loadtests.bench.world import World

Runs = defaultdict[int, list[tuple[int, int]]]
"""Device → (first seq, count) of batches."""


class Trial:
    """A context manager: the service runs within it.

    `scans` and `batches` count what was acknowledged; `faults` are answers that must not be.
    """

    def __init__(self, system: System, world: World, generators: Generators, *, keep: bool) -> None:
        """`keep`: the service's data stays, for as long as the session lasts."""
        self.system: Final = system
        self.scans = 0
        self.batches = 0
        self.faults: list[str] = []
        self._keep: Final = keep
        self._projected = 0
        self._pids: dict[str, int] = {}
        self._world: Final = world
        self._generators: Final = generators
        self._dealer: Final = Dealer(world.devices)
        self._acknowledged: Final[Runs] = defaultdict(list)
        self._unanswered: Final[Runs] = defaultdict(list)

    def __enter__(self) -> Self:
        self.system.__enter__()
        self._pids = self.system.embedded.pids
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.system.__exit__(kind, error, trace)
        if not self._keep:
            shutil.rmtree(self.system.settings.data_dir, ignore_errors=True)

    def make(self, order: Order) -> list[Request]:
        """New requests of new scans, signed as of now."""
        return self._generators.requests(order, self._dealer.dealt(order))

    def load(
        self,
        requests: Sequence[Request],
        *,
        connections: int,
        seconds: float,
        per_second: float | None = None,
        on_tick: OnTick = ignore_tick,
    ) -> Outcome:
        """Run a load as `run_load` does, and take down what was acknowledged."""
        outcome = run_load(
            self.system.address,
            requests,
            connections=connections,
            seconds=seconds,
            per_second=per_second,
            on_tick=on_tick,
        )
        for places, runs in ((outcome.acknowledged, self._acknowledged), (outcome.unanswered, self._unanswered)):
            for place in places:
                request = requests[place]
                runs[request.device].append((request.first, request.count))
        self.scans += outcome.scans
        self.faults += outcome.faults
        self.batches += len(outcome.acknowledged)
        return outcome

    def await_log(self) -> float:
        """The monotonic time at which the log holds all that was acknowledged. Raises `LoadFailed`."""
        return self.system.await_rows("log", self.scans)

    def await_read_models(self) -> float:
        """The monotonic time at which traces see all of it. Raises `LoadFailed`."""
        reached = self.system.await_rows("read-models", self.scans)
        self._projected = self.scans
        return reached

    def await_settled(self) -> float:
        """The monotonic time at which the stays of all of it are settled. Raises `LoadFailed`."""
        return self.system.await_settled(self.scans)

    def verdict(self) -> Verdict:
        """Stop the service, and hold its log against what it was sent, row by row."""
        # Whatever was lost with it: a figure is worth nothing where a process did not last.
        self.faults += [
            f"{name} died and was started again"
            for name, pid in self.system.embedded.pids.items()
            if self._pids.get(name) != pid
        ]
        self.system.stop()
        sent = [
            Sent(device, self._acknowledged[device], self._unanswered[device]) for device in range(self._world.devices)
        ]
        return checked(self.system.settings, Expected(self._world, sent, self.batches, self._projected == self.scans))
