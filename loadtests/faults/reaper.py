"""How a campaign tells a running process to die at a step: a file for each order, which the process finds there.

A file and not a signal or a setting, because processes are told while they run, and whichever of several that do the
same work gets there first is the one that dies.
"""

import os
import signal
from pathlib import Path
from typing import Final

from loadtests.faults.schedule import Death


class Orders:
    """The campaign's side: deaths that are ordered and have not happened yet."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the processes' too; it is made here."""
        self._directory: Final = directory
        self._given = 0
        directory.mkdir(parents=True, exist_ok=True)

    def give(self, death: Death) -> None:
        """From now on the steps are counted."""
        self._given += 1
        fresh = self._directory / "fresh"
        fresh.write_text(f"{self._given} {death.nth}", encoding="ascii")
        fresh.rename(order_file(self._directory, death.role, death.step))

    def pending(self) -> list[str]:
        """Those that nobody has died of yet."""
        return sorted(file.name for file in self._directory.iterdir())


class Reaper:
    """The process's side: called right after each step, does not return from the one to die at."""

    def __init__(self, directory: Path, role: str) -> None:
        self._directory: Final = directory
        self._role: Final = role
        self._counts: Final[dict[str, int]] = {}

    def __call__(self, step: str) -> None:
        """Count the step where somebody is to die at it."""
        file = order_file(self._directory, self._role, step)
        try:
            order = file.read_text(encoding="ascii")
        except FileNotFoundError:
            return
        self._counts[order] = self._counts.get(order, 0) + 1
        if self._counts[order] < int(order.partition(" ")[2]):
            return
        try:
            file.unlink()
        except FileNotFoundError:
            return  # another process of this role was first
        os.kill(os.getpid(), signal.SIGKILL)


def order_file(directory: Path, role: str, step: str) -> Path:
    """Where the order to die at a step lies."""
    return directory / f"{role} {step}"
