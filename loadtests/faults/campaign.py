"""Goes through the rounds of a campaign, and reports each."""

import contextlib
import functools
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from loadtests.faults.audit import Audit, Violation
from loadtests.faults.ledger import Ledger
from loadtests.faults.links import LoopThread
from loadtests.faults.schedule import LOAD_MS, Break, Death, Kill, Mode, Round, mode_of, scheduled
from loadtests.faults.system import Stuck, System
from loadtests.faults.traffic import Traffic, WrongAnswer, enrolled_scanners
from storage.errors import StoreDown, StreamDown

FAULTS_SECONDS_MAX: Final = 90.0
"""How long the load goes on for a fault that has not happened yet."""
REST_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.01

FAILURES: Final = (Violation, Stuck, WrongAnswer, StoreDown, StreamDown, TimeoutError)
"""What a round can fail with."""


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One round as it went. Counts are the round's own; `failure` is empty where it passed."""

    seed: int
    round: int
    mode: Mode
    faults: list[str]
    died_at: list[str]
    attempts: int
    acknowledged: int
    deliveries: int
    load_seconds: float
    recover_seconds: float
    audit_seconds: float
    failure: str = ""


class CampaignFailed(Exception):
    """A round failed; the last report says how. `directory` keeps its data and logs."""

    def __init__(self, report: Report, directory: Path) -> None:
        super().__init__(f"round {report.round} of seed {report.seed}: {report.failure}")
        self.report: Final = report
        self.directory: Final = directory


class Stage:
    """One running system with its traffic and its audit."""

    def __init__(self, system: System, loop: LoopThread, seed: str) -> None:
        self._system: Final = system
        self._loop: Final = loop
        self._ledger: Final = Ledger()
        self._traffic: Final = Traffic(enrolled_scanners(system, self._ledger, seed))
        self._audit: Final = Audit(system, self._ledger)
        self._deliveries = 0
        loop.run(self._traffic.start())

    def close(self) -> None:
        """End traffic and audit."""
        self._loop.run(self._traffic.close())
        self._audit.close()

    def play(self, planned: Round) -> Report:
        """One round. Never raises one of `FAILURES`: the report has it."""
        attempts, acknowledged = self._ledger.attempts, self._ledger.scans_acknowledged
        marks = [time.monotonic()]
        failure = ""
        deliveries = self._deliveries
        try:
            self._loop.run(self._traffic.flow())
            self._inflict(planned)
            marks.append(time.monotonic())
            self._system.recover(planned.restart_order)
            self._loop.run(self._traffic.rest(REST_SECONDS_MAX))
            marks.append(time.monotonic())
            deliveries = self._audit.check().deliveries
        except FAILURES as error:
            failure = f"{type(error).__name__}: {error}"
        marks += [time.monotonic()] * (4 - len(marks))
        load, recover, audit = (round(end - start, 3) for start, end in itertools.pairwise(marks))
        report = Report(
            seed=planned.seed,
            round=planned.number,
            mode=planned.mode,
            faults=[str(fault) for fault in planned.faults],
            died_at=[f"{fault.role} {fault.step}" for fault in planned.faults if isinstance(fault, Death)],
            attempts=self._ledger.attempts - attempts,
            acknowledged=self._ledger.scans_acknowledged - acknowledged,
            deliveries=deliveries - self._deliveries,
            load_seconds=load,
            recover_seconds=recover,
            audit_seconds=audit,
            failure=failure,
        )
        self._deliveries = deliveries
        return report

    def _inflict(self, planned: Round) -> None:
        """Let every fault of the round happen while traffic flows. Raises `Stuck` where one does not."""
        deaths = [fault for fault in planned.faults if isinstance(fault, Death)]
        for death in deaths:
            self._system.orders.give(death)
        down_ms = iter([death.down_ms for death in deaths])
        began = time.monotonic()
        for at_ms, act in sorted(_acts(planned, self._system), key=lambda timed: timed[0]):
            while time.monotonic() < began + at_ms / 1000:
                self._tend(down_ms)
            act()
        while (pending := self._system.orders.pending()) or time.monotonic() < began + LOAD_MS / 1000:
            if time.monotonic() > began + FAULTS_SECONDS_MAX:
                raise Stuck(f"nobody got to: {', '.join(pending)}")
            self._tend(down_ms)

    def _tend(self, down_ms: Iterator[int]) -> None:
        self._loop.run(self._check_traffic())
        self._system.tend(lambda: next(down_ms, 0))
        time.sleep(POLL_SECONDS)

    async def _check_traffic(self) -> None:
        self._traffic.check()


def _acts(planned: Round, system: System) -> list[tuple[int, Callable[[], None]]]:
    """What the campaign itself does in a round, and when (ms)."""
    acts: list[tuple[int, Callable[[], None]]] = []
    for fault in planned.faults:
        match fault:
            case Kill(process, at_ms, down_ms):
                acts.append((at_ms, functools.partial(system.kill, process, down_ms)))
            case Break(link, way, at_ms, for_ms):
                acts.append((at_ms, functools.partial(system.break_link, link, way)))
                acts.append((at_ms + for_ms, functools.partial(system.heal_link, link)))
    return acts


def campaign(
    seed: int, first: int, rounds: int, directory: Path, *, hasty: bool = False, on_report: Callable[[Report], None]
) -> None:
    """Play rounds `first` to `first + rounds - 1`, each reported. Raises `CampaignFailed` at the first that fails.

    `directory` is for the data; nothing is left in it unless a round fails. `hasty`: see `process`.
    """
    numbers = range(first, first + rounds)
    played = 0
    while played < rounds:
        mode = mode_of(numbers[played])
        data = Path(tempfile.mkdtemp(prefix=f"{mode}-", dir=directory))
        with LoopThread() as loop, System(data, mode, loop, hasty=hasty).running() as system:
            stage = Stage(system, loop, f"{seed}:{numbers[played]}")
            with contextlib.closing(stage):
                while played < rounds and mode_of(numbers[played]) == mode:
                    report = stage.play(scheduled(seed, numbers[played]))
                    on_report(report)
                    if report.failure:
                        raise CampaignFailed(report, data)
                    played += 1
        shutil.rmtree(data)
