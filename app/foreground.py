"""A service in the foreground of a terminal or a container: runs until Ctrl-C or SIGTERM, then stops in good order."""

import signal
import time
from collections.abc import Callable
from typing import Final, NoReturn

IDLE_SECONDS: Final = 3_600.0


def run_until_told(start: Callable[[], None], stop: Callable[[], None]) -> bool:
    """Call `start`, wait for SIGINT, SIGTERM or SIGHUP, call `stop`. An error of `start` is raised after `stop`.

    Returns whether `start` had ended when the signal came.
    """
    # SIGINT too: a shell script starts what it puts into the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    started = False
    try:
        start()
        started = True
        _idle()
    except KeyboardInterrupt:
        pass
    finally:
        # A second Ctrl-C must not break the stop off half-way.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stop()
    return started


def _idle() -> NoReturn:
    while True:
        time.sleep(IDLE_SECONDS)
