"""The reference scanner at work: what is scanned goes into the queue, a thread sends, every verdict gets a word."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import click

from app.failures import problem_line
from app.scan_queue import ScanQueue
from app.scanner import DUPLICATE, Halted, NotKept, Outcome, Resent, Scanner, Sent, SetAside, Waits
from app.words import words
from events.problems import Problem
from events.scans import Scan

IDLE_SECONDS: Final = 0.2


class Door:
    """A queue and its scanner; `say` prints one line for the operator."""

    def __init__(self, queue: ScanQueue, scanner: Scanner, say: Callable[[str], None]) -> None:
        self._queue: Final = queue
        self._scanner: Final = scanner
        self._say: Final = say
        self._closing: Final = threading.Event()
        self._arrived: Final = threading.Event()
        self._deadline = float("inf")
        self._offline = False
        self._thread: Final = threading.Thread(target=self._send, name="sender", daemon=True)
        self.halted: Problem | None = None
        self.refused = 0
        self.failed: BaseException | None = None

    def open(self) -> None:
        """Begin to send what waits."""
        self._thread.start()

    def take(self, scan: Scan) -> int:
        """Keep one scan; returns its number once it is on disk."""
        (kept,) = self._queue.append([scan])
        self._arrived.set()
        return kept.seq

    def close(self, wait_seconds: float) -> None:
        """Send what is left for at most that long. What is not sent stays in the queue."""
        self._deadline = time.monotonic() + wait_seconds
        self._closing.set()
        self._arrived.set()
        self._thread.join()
        if self.failed is not None:
            raise self.failed

    def _send(self) -> None:
        try:
            while self.halted is None and self._goes_on():
                outcome = self._scanner.step()
                if outcome is None:
                    self._arrived.wait(IDLE_SECONDS)
                    self._arrived.clear()
                else:
                    self._act(outcome)
        except BaseException as error:
            self.failed = error

    def _goes_on(self) -> bool:
        if not self._closing.is_set():
            return True
        return not self._scanner.is_idle() and time.monotonic() < self._deadline

    def _act(self, outcome: Outcome) -> None:
        match outcome:
            case Sent():
                self._tell(outcome)
            case SetAside(scan=scan, problem=problem):
                self.refused += 1
                self._say(f"{scan.seq} put aside: {problem_line(problem)}")
            case Halted(problem=problem):
                self.halted = problem
                self._say(f"stopped, every scan is kept: {problem_line(problem)}")
            case Resent(scans=scans):
                self._say(f"{scans[0].seq} to {scans[-1].seq}: {len(scans)} that the server had lost were sent again")
            case NotKept(count=count):
                self._say(f"{count} numbers are missing on the server, and no scan of them is kept here any more")
            case Waits(seconds=seconds, problem=problem):
                self._wait(seconds, problem)

    def _tell(self, sent: Sent) -> None:
        self._offline = False
        receipt = sent.receipt
        told = {verdict.seq for verdict in receipt.verdicts}
        for scan in sent.scans:
            if scan.seq not in told:
                self._say(f"{scan.seq} accepted")
        for verdict in receipt.verdicts:
            if verdict.verdict != DUPLICATE:
                self.refused += 1
            self._say(f"{verdict.seq} {verdict.verdict}: {words(verdict.verdict)}")
        if sent.renumbered:
            self._say(
                f"{sent.renumbered} scans had numbers that this device has used before (was its queue lost?); they get"
                " new ones and are sent again"
            )

    def _wait(self, seconds: float, problem: Problem | None) -> None:
        if not self._offline and seconds > 0:
            why = problem_line(problem) if problem is not None else "No answer from the server."
            self._say(f"{len(self._queue)} scans wait: {why} Trying again.")
            self._offline = True
        end = time.monotonic() + seconds
        while (left := min(end, self._deadline) - time.monotonic()) > 0:
            time.sleep(min(left, IDLE_SECONDS))


def say(line: str) -> None:
    """One line at once, also when the output is a pipe."""
    click.echo(line)
    sys.stdout.flush()
