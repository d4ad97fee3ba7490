"""What went wrong, in one line for the person at the terminal."""

import traceback
from typing import Final

import click
import redis

from app.errors import Explained
from app.settings import SettingsError, read_settings
from events.problems import Problem, ProblemError
from storage.errors import StoreDown, StreamDown, StreamFull
from storage.valkey import ValkeyFailed

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_BUG: Final = 70

STREAM_DOWN: Final = (StreamDown, StreamFull, redis.ConnectionError, redis.TimeoutError)


def report(error: BaseException) -> int:
    """Print the error to standard error and return the exit code."""
    if isinstance(error, click.UsageError):
        error.show()
        return EXIT_USAGE
    line = explained(error)
    if line is not None:
        click.echo(f"truyvet: {line}", err=True)
        return EXIT_FAILED
    if _debugging():
        traceback.print_exception(error)
    click.echo(
        f"truyvet: this should not have happened ({type(error).__name__} in {_where(error)}). TRUYVET_LOG_LEVEL=debug"
        " shows the details for a report.",
        err=True,
    )
    return EXIT_BUG


def explained(error: BaseException) -> str | None:
    """The one line for a failure that is known, else None."""
    line: str | None = None
    if isinstance(error, click.ClickException):
        line = error.format_message()
    elif isinstance(error, ProblemError):
        line = problem_line(error.problem)
    elif isinstance(error, Explained | ValkeyFailed):
        line = str(error)
    elif isinstance(error, STREAM_DOWN):
        line = "The stream (Redis) cannot be reached. Is `truyvet up` running? `truyvet doctor` checks every part."
    elif isinstance(error, StoreDown):
        line = f"The store (ClickHouse) cannot answer: {error}. `truyvet doctor` checks every part."
    elif isinstance(error, OSError) and error.filename is not None:
        line = f"{error.filename}: {error.strerror}. Check the path and who owns it."
    return line


def problem_line(problem: Problem) -> str:
    """Title, detail and action of a problem on one line."""
    parts = [problem.title]
    if problem.detail:
        parts.append(problem.detail)
    if problem.pointer:
        parts.append(f"at {problem.pointer}")
    line = " — ".join(part.rstrip(".") for part in parts) + "."
    return f"{line} {problem.action}" if problem.action else line


def _debugging() -> bool:
    try:
        return read_settings().log_level == "debug"
    except SettingsError:
        return False


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].name}:{frames[-1].lineno}" if frames else "no frame"
