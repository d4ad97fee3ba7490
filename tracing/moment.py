"""The moment as of which a question is answered: awaited, so that asking again answers the same."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from events.problems import BEHIND, ProblemError
from storage.watermarks import Asked, Laid, Name, Watermark
from tracing.question import resolve_as_of
from tracing.registry import CaughtUp
from tracing.retention.horizon import behind, require_kept

READ_MODELS_WAIT_SECONDS_MAX: Final = 10.0
REGISTRY_WAIT_SECONDS_MAX: Final = 5.0


class ReadModels(Protocol):
    """Where the read models' watermark is awaited; `storage.watermarks.Watermarks` is one."""

    def wait(self, name: Name, received: int, timeout_seconds: float) -> Watermark | None:
        """The first watermark at or past `received` (ms); None when the time is over."""

    def ask(self, received: int) -> Asked | None:
        """How far the read models are, having the log asked for what it lacks up to `received` (ms)."""

    def wait_laid(self, received: int, asked: Asked, timeout_seconds: float) -> Laid | None:
        """Once the log has everything up to `received` (ms), for which was asked; None when the time is over."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When something was asked, as of when it is answered, and how far the read models were when reading began.

    `kept_from` is there where the answer would need scans from before it: those are kept no longer. Times in Unix ms.
    """

    asked_at: int
    as_of: int
    read_models: Watermark
    kept_from: int | None = None

    @property
    def read_to(self) -> int:
        """Up to where was read (Unix ms): nobody answers before all of it can be.

        What the read models hold beyond `as_of` is not read: saying so would make two answers as of it differ.
        """
        return self.as_of

    def reaching(self, kept_from: int, windows: Iterable[tuple[int, int]], pointer: str) -> "Moment":
        """The same for a question about these windows `[start, end)`: it says where scans that it needs are gone.

        Raises WINDOW_EXPIRED as `ProblemError` where none is kept of any window.
        """
        spans = list(windows)
        require_kept(kept_from, (end for _, end in spans), pointer)
        return msgspec.structs.replace(self, kept_from=behind(kept_from, min(start for start, _ in spans)))


class Moments:
    """Waits for read models and registry. Thread-safe."""

    def __init__(self, watermarks: ReadModels, caught_up: CaughtUp, clock: Callable[[], int]) -> None:
        """`caught_up` belongs to what feeds the registry; `clock` gives Unix ms."""
        self._watermarks: Final = watermarks
        self._caught_up: Final = caught_up
        self._clock: Final = clock

    def now(self) -> int:
        """Unix ms."""
        return self._clock()

    def know_registry(self) -> None:
        """Wait until places, cases and revocations recorded by now are known: asking again must change nothing.

        Raises BEHIND as `ProblemError`, and `StreamDown`.
        """
        if not self._caught_up(REGISTRY_WAIT_SECONDS_MAX):
            raise ProblemError(BEHIND.problem("The registry has not caught up with the control stream."))

    def read_models(self, received: int, *, wait: bool = True) -> Watermark:
        """Up to where they are, which is at least `received` (Unix ms): that is waited for, or required at once.

        Raises BEHIND as `ProblemError`, and `StreamDown`.
        """
        watermark = self._watermarks.wait("read-models", received if wait else 0, READ_MODELS_WAIT_SECONDS_MAX)
        if watermark is None or watermark.received < received:
            raise ProblemError(BEHIND.problem(pointer="/as_of"))
        return watermark

    def ask(self, received: int) -> Asked | None:
        """How far the read models are, having the log asked for what it lacks up to `received` (Unix ms).

        None before they have begun. Raises `StreamDown`.
        """
        return self._watermarks.ask(received)

    def laid(self, received: int, asked: Asked) -> Laid:
        """Once the log has everything up to `received` (Unix ms), which `ask` has asked for.

        Raises BEHIND as `ProblemError`, and `StreamDown`.
        """
        laid = self._watermarks.wait_laid(received, asked, READ_MODELS_WAIT_SECONDS_MAX)
        if laid is None:
            raise ProblemError(BEHIND.problem(pointer="/as_of"))
        return laid

    def settled(self, as_of: int | None) -> Moment:
        """Wait until everything received by `as_of` (Unix ms; None: now) can be read.

        Raises `ProblemError` (AS_OF_IN_FUTURE, BEHIND) and `StreamDown`.
        """
        asked_at = self._clock()
        return self.awaited(resolve_as_of(as_of, asked_at), asked_at)

    def awaited(self, as_of: int, asked_at: int, *, wait: bool = True) -> Moment:
        """The same for what was asked at `asked_at`, as of a moment that has been checked; or required at once.

        One clock stamps the registry's events and the scans. Once the read models have passed `as_of`, nothing more can
        be recorded by then, even where the clock here is ahead: so the registry is awaited last.
        """
        read_models = self.read_models(as_of, wait=wait)
        self.know_registry()
        return Moment(asked_at=asked_at, as_of=as_of, read_models=read_models)
