"""A run's course: what each process does at its beginning and its end, and how many users there are in between."""

import logging
from typing import Any, Final

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests.load.api import ApiFailed
from loadtests.load.cast import CastUnusable
from loadtests.load.options import RUN_SECONDS_DEFAULT, USERS_DEFAULT, OptionsUnusable, add_options, read_options
from loadtests.load.shapes import RECONNECT_AT, Shape, share_of_users
from loadtests.load.users import Epidemiologist, Ground, Phone, ScanningUser

log: Final = logging.getLogger("truyvet.load")

RECONNECTED: Final = "truyvet-reconnected"
SETUP_FAILED: Final = 2
"""The exit code of a run that could not begin."""


class Course(LoadTestShape):
    """The number of users over `--run-time`, as `--shape` has it, up to `--users`."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """How many users there are to be now, and how many may come in a second; None when the run is over."""
        assert self.runner is not None
        parsed: Any = self.runner.environment.parsed_options
        users, seconds = parsed.num_users or USERS_DEFAULT, parsed.run_time or RUN_SECONDS_DEFAULT
        shape = Shape(parsed.shape)
        share = self.get_run_time() / seconds  # type: ignore[no-untyped-call]
        if share >= 1:
            return None
        if shape is Shape.RECONNECT_STORM and share >= RECONNECT_AT:
            # Every time: a worker may have joined since.
            self.runner.send_message(RECONNECTED)
        return max(1, round(users * share_of_users(shape, share))), users


def listen() -> None:
    """Have Locust call this module at the turns of a run; once in each of its processes."""
    events.init_command_line_parser.add_listener(add_options)
    events.init.add_listener(_init)
    events.test_start.add_listener(_begin)
    events.test_stopping.add_listener(_end)


def _init(environment: Environment, **_: Any) -> None:
    """Listen for the end of an outage; leave phones out where walls have no codes. Workers do as the master says."""
    parsed: Any = environment.parsed_options
    if not isinstance(environment.runner, WorkerRunner) and not parsed.codes and Phone in environment.user_classes:
        environment.user_classes.remove(Phone)
        log.warning("no phones: walls have no codes without --codes")
    if environment.runner is not None:
        environment.runner.register_message(RECONNECTED, _reconnected)


def _begin(environment: Environment, **_: Any) -> None:
    """Every process that has users makes its own ground; without one there is no run."""
    ScanningUser.over.clear()
    ScanningUser.connected.clear()
    if isinstance(environment.runner, MasterRunner):
        return
    try:
        ground = Ground(read_options(environment.parsed_options, environment.host))
        ground.register_places()
    except (OptionsUnusable, CastUnusable, ApiFailed) as error:
        log.error("%s", error)
        environment.process_exit_code = SETUP_FAILED
        raise SystemExit(SETUP_FAILED) from None
    ScanningUser.ground = Epidemiologist.ground = ground
    if ground.options.shape is not Shape.RECONNECT_STORM:
        ScanningUser.connected.set()


def _end(environment: Environment, **_: Any) -> None:
    """What is under way is finished, and nothing else begun."""
    ScanningUser.over.set()
    ScanningUser.connected.set()


def _reconnected(environment: Environment, msg: Any, **_: Any) -> None:
    """The network is back."""
    ScanningUser.connected.set()
