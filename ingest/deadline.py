"""A deadline that many waits share: `asyncio.timeout`, with one timer for all of them.

A timer of its own for every wait would cost a request a twentieth of its time, nearly always to be cancelled unrung.
Where all waits may take equally long, the one that began first is due first: only that one needs a timer.
"""

import asyncio
import itertools
from types import TracebackType
from typing import Any, Final


class Deadline:
    """Bounds what stands in its `with` block, for any number of tasks of one event loop at once; not to be nested.

    Raises `TimeoutError` where it takes longer than so many seconds. A block ends in the task that it began in.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds: Final = seconds
        self._due: Final[dict[asyncio.Task[Any], tuple[float, int]]] = {}
        """By whoever waits: when it is due, in the loop's seconds, and how often it had been cancelled when it began.

        The first to be due stands first."""
        self._interrupted: Final[dict[asyncio.Task[Any], int]] = {}
        """By whoever was overdue and has not left the block yet: how often it had been cancelled when it began."""
        self._timed = False

    def __enter__(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be interrupted")
        due = loop.time() + self._seconds
        self._due[task] = due, task.cancelling()
        if not self._timed:
            self._timed = True
            loop.call_at(due, self._ring)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        if task is None or self._due.pop(task, None) is not None:
            return
        cancelling = self._interrupted.pop(task, None)
        # Somebody else may have cancelled the task as well: that goes on.
        if cancelling is not None and task.uncancel() <= cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _ring(self) -> None:
        """Interrupt whoever is overdue, and ring again when the next is due."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, (_, cancelling) in list(itertools.takewhile(lambda wait: wait[1][0] <= now, self._due.items())):
            del self._due[task]
            self._interrupted[task] = cancelling
            task.cancel()
        self._timed = bool(self._due)
        if self._due:
            next_due, _ = next(iter(self._due.values()))
            loop.call_at(next_due, self._ring)
