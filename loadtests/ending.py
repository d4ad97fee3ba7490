"""How a run from the command line ends when it is told to: through every `finally`, so that nothing stays behind."""

import signal
import sys
from types import FrameType
from typing import Final, NoReturn

ENDED_BY_SIGNAL: Final = 128
"""A shell's exit code for a signal is this and the signal's number."""


def exit_when_told() -> None:
    """From now on SIGTERM raises `SystemExit` in the main thread."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(ENDED_BY_SIGNAL + number)
