"""A deadline that many waits share: `asyncio.timeout`, with one timer for all of them.

A timer of its own for every wait would cost a request a twentieth of its time, nearly always to be cancelled unrung.
Where all waits may take equally long, the one that began first is due first: only that one needs a timer.
"""

import asyncio
from types import TracebackType
from typing import Any, Final


class Deadline:
    """Bounds what stands in its `with` block, for any number of tasks of one event loop at once; not to be nested.

    Raises `TimeoutError` where it takes longer than so many seconds.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds: Final = seconds
        self._due: Final[dict[asyncio.Task[Any] | None, float]] = {}
        """By whoever waits, in the loop's seconds; the first to be due first."""
        self._timed = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        due = self._due[asyncio.current_task()] = loop.time() + self._seconds
        if not self._timed:
            self._timed = True
            loop.call_at(due, self._ring)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        overdue = self._due.pop(task, None) is None
        # Somebody else may have cancelled the task as well: that goes on.
        if overdue and task is not None and task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _ring(self) -> None:
        """Interrupt whoever is overdue, and ring again when the next is due."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            if task is not None:
                task.cancel()
        self._timed = bool(self._due)
        if self._due:
            loop.call_at(next(iter(self._due.values())), self._ring)
