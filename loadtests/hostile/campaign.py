"""A campaign: so many hostile requests among good ones, each answer held against what may be, then the log read."""

import collections
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from app.settings import Settings
from loadtests.hostile import cheating, tampering
from loadtests.hostile.actors import Cast
from loadtests.hostile.attack import Attack, Row, Signed, Stage
from loadtests.hostile.crowd import IDLE, NOBODY, SLOW, crowd, honest_rate
from loadtests.hostile.wire import Answer, Lane

Rows = Callable[[str], list[list[Any]]]
"""Answers a query of the store; values as JSON has them."""

PIPELINED: Final = 16
"""Requests that are sent at once; the server works on them one after the other."""
CROWD_REQUESTS: Final = 2_000
GOOD_SHARE: Final = 0.05
FAULTS_KEPT: Final = 20
KNOWN_SECONDS_MAX: Final = 60.0
RETRY_SECONDS: Final = 0.05

LOG_SQL: Final = (
    "SELECT device, key, seq, toUnixTimestamp64Milli(at), place, lower(hex(subject)), toString(kind), toString(how)"
    " FROM log"
)
FIRST_SQL: Final = "SELECT device, seq, toUnixTimestamp64Milli(at), lower(hex(subject)) FROM scans_by_subject FINAL"


class NotKnown(Exception):
    """The edge does not come to know a device that was enrolled."""


class Report(msgspec.Struct):
    """What happened. `outcomes` counts requests by attack; `faults` tells the first that went wrong, by attack."""

    seed: int
    requests: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = {}
    faults: list[str] = []
    faults_total: int = 0
    acknowledged: int = 0
    recognised: int = 0

    def line(self) -> str:
        """In a sentence."""
        return (
            f"{self.requests} requests of {len(self.outcomes)} kinds in {self.seconds:.1f} s (seed {self.seed}):"
            f" {self.faults_total} answered wrongly; {self.acknowledged} scans acknowledged,"
            f" {self.recognised} replays recognised"
        )


class Campaign:
    """One campaign against a running service, whose rate limits must be above what is sent here."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._address: Final = settings.ingest_host, settings.ingest_port
        self._stage: Final = Stage(Cast(settings, seed), random.Random(f"campaign {seed}"))
        self._makers: Final = (*tampering.makers(), *cheating.makers())
        self._acknowledged: Final[collections.Counter[Row]] = collections.Counter()
        self._first: Final[dict[tuple[int, int], Row]] = {}
        self.report: Final = Report(seed)

    def run(self, requests: int) -> Report:
        """Send so many requests and hold each answer against what may be. Raises `NotKnown`."""
        began = time.monotonic()
        with Lane(*self._address) as lane, Lane(*self._address) as apart:
            self._make_known(lane)
            while self.report.requests < requests:
                attacks = [self._next() for _ in range(min(PIPELINED, requests - self.report.requests))]
                together = [attack for attack in attacks if not attack.alone]
                for attack, answer in zip(together, lane.exchange([each.raw for each in together]), strict=True):
                    self._judge(attack, answer)
                for attack in attacks:
                    if attack.alone:
                        self._judge(attack, apart.exchange([attack.raw])[0])
                        apart.close()
        self.report.seconds = time.monotonic() - began
        return self.report

    def beside_crowds(self, rounds: int) -> dict[str, list[float]]:
        """Honest requests a second by who else is connected, one figure a round. Raises `CrowdFailed`."""
        rates: dict[str, list[float]] = {NOBODY: [], IDLE: [], SLOW: []}
        for _ in range(rounds):
            for kind, measured in rates.items():
                with crowd(*self._address, kind):
                    rate, taken = honest_rate(*self._address, self._stage.good, CROWD_REQUESTS)
                measured.append(rate)
                for each in taken:
                    self._acknowledge(each.rows, each)
        return rates

    def audit(self, rows: Rows) -> list[str]:
        """How the whole log and a read model differ from what was acknowledged; empty where they do not."""
        log = collections.Counter(_row(row) for row in rows(LOG_SQL))
        faults = [f"lost: {_told(row)}" for row in (self._acknowledged - log).elements()]
        faults += [f"never acknowledged: {_told(row)}" for row in (log - self._acknowledged).elements()]
        shown = {(device, seq): (at, subject) for device, seq, at, subject in rows(FIRST_SQL)}
        expected = {scan: (row[3], row[5]) for scan, row in self._first.items()}
        wrong = [scan for scan in expected if shown.get(scan) != expected[scan]]
        return faults + [
            f"traces do not show the first delivery of device {device}, seq {seq}" for device, seq in wrong
        ]

    def _next(self) -> Attack:
        chance = self._stage.chance
        if chance.random() < GOOD_SHARE:
            good = self._stage.good()
            return Attack(name="good", raw=good.wire.raw(), rows=good.rows, signed=good)
        return chance.choice(self._makers)(self._stage)

    def _judge(self, attack: Attack, answer: Answer) -> None:
        report = self.report
        fault = attack.fault(answer)
        report.requests += 1
        report.outcomes[attack.name] = report.outcomes.get(attack.name, 0) + 1
        if fault:
            report.faults_total += 1
            if len(report.faults) < FAULTS_KEPT:
                report.faults.append(f"{attack.name}: {fault}: {attack.raw[:600]!r}")
        elif attack.recognised(answer):
            report.recognised += 1
        elif attack.rows:
            self._acknowledge(attack.rows, attack.signed)

    def _acknowledge(self, rows: Iterable[Row], signed: Signed | None) -> None:
        for row in rows:
            self.report.acknowledged += 1
            self._acknowledged[row] += 1
            self._first.setdefault((row[0], row[2]), row)
        if signed is not None:
            self._stage.take(signed)

    def _make_known(self, lane: Lane) -> None:
        """Return when the edge knows every device. Its control stream is followed in order: the last one tells."""
        deadline = time.monotonic() + KNOWN_SECONDS_MAX
        for actor in reversed(self._stage.cast.honest):
            while True:
                good = self._stage.good(actor)
                (answer,) = lane.exchange([good.wire.raw()])
                if answer.status == 202:
                    self._acknowledge(good.rows, good)
                    break
                if answer.problem not in {"key-unknown", ""} or time.monotonic() > deadline:
                    raise NotKnown(f"{actor.keyid}: {answer.status} {answer.problem}")
                time.sleep(RETRY_SECONDS)


def _row(values: list[Any]) -> Row:
    device, key, seq, at, place, subject, kind, how = values
    return device, key, seq, at, place, subject, kind, how


def _told(row: Row) -> str:
    return f"device {row[0]}, seq {row[2]}"
