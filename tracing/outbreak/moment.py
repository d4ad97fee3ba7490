"""The moment as of which a question is answered: awaited, so that asking again answers the same."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from events.problems import BEHIND, ProblemError
from tracing.answer import READ_MODELS_WAIT_SECONDS_MAX, REGISTRY_WAIT_SECONDS_MAX, CutOff, ReadModels
from tracing.outbreak.intervals import Interval
from tracing.question import resolve_as_of
from tracing.registry import CaughtUp
from tracing.retention.horizon import behind, require_kept


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When something was asked, and as of when it is answered (Unix ms)."""

    asked_at: int
    cut_off: CutOff

    @property
    def as_of(self) -> int:
        """Nothing received later counts."""
        return self.cut_off.as_of

    def reaching(self, kept_from: int, windows: Iterable[Interval], pointer: str) -> "Moment":
        """The same for a question about these windows: it says where scans that it needs are kept no longer.

        Raises WINDOW_EXPIRED as `ProblemError` where none is kept of any window.
        """
        spans = list(windows)
        require_kept(kept_from, (end for _, end in spans), pointer)
        reached = behind(kept_from, min(start for start, _ in spans))
        return msgspec.structs.replace(self, cut_off=msgspec.structs.replace(self.cut_off, kept_from=reached))


class Moments:
    """Waits for read models and registry, as a trace does. Thread-safe."""

    def __init__(self, watermarks: ReadModels, caught_up: CaughtUp, clock: Callable[[], int]) -> None:
        self._watermarks: Final = watermarks
        self._caught_up: Final = caught_up
        self._clock: Final = clock

    def now(self) -> int:
        """Unix ms."""
        return self._clock()

    def know_registry(self) -> None:
        """Wait until what is recorded by now is known here. Raises BEHIND as `ProblemError`, and `StreamDown`."""
        if not self._caught_up(REGISTRY_WAIT_SECONDS_MAX):
            raise ProblemError(BEHIND.problem("The registry has not caught up with the control stream."))

    def settled(self, as_of: int | None) -> Moment:
        """Wait until everything received by `as_of` (Unix ms; None: now) can be read.

        Raises `ProblemError` (AS_OF_IN_FUTURE, BEHIND) and `StreamDown`.
        """
        asked_at = self._clock()
        moment = resolve_as_of(as_of, asked_at)
        watermark = self._watermarks.wait("read-models", moment, READ_MODELS_WAIT_SECONDS_MAX)
        if watermark is None:
            raise ProblemError(BEHIND.problem(pointer="/as_of"))
        # After the wait, as a trace does: nothing more can be recorded at `as_of` or before.
        self.know_registry()
        return Moment(asked_at=asked_at, cut_off=CutOff(as_of=moment, read_to=min(watermark.received, moment)))
