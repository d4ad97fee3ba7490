"""Every error answer is a problem document: this service's own refusals, the framework's, and what nobody foresaw."""

import logging
import traceback
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException

from events import problems
from events.problems import PROBLEM_MEDIA_TYPE, Kind, Problem, ProblemError
from storage.errors import StoreDown, StreamDown, StreamFull

log: Final = logging.getLogger("truyvet.trace")

FRAMEWORK_KINDS: Final[dict[int, Kind]] = {
    400: problems.BODY_MALFORMED,
    404: problems.NOT_FOUND,
    405: problems.METHOD_NOT_ALLOWED,
    413: problems.BODY_TOO_LARGE,
}
"""What the framework itself may refuse, by its status."""


def problem_of(error: Exception) -> Problem:
    """The problem that an exception stands for. The exceptions' own texts stay behind: they may quote a request."""
    match error:
        case ProblemError():
            return error.problem
        case StoreDown():
            return problems.STORE_DOWN.problem()
        case StreamFull():
            return problems.STREAM_FULL.problem("The registries could not be changed; nothing was.")
        case StreamDown():
            return problems.STREAM_DOWN.problem("Redis does not answer; look whether anything was changed, then retry.")
        case HTTPException() if error.status_code in FRAMEWORK_KINDS:
            return FRAMEWORK_KINDS[error.status_code].problem()
        case _:
            return problems.INTERNAL.problem()


def answer_fault(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The error answer, with Retry-After and WWW-Authenticate where they belong; the framework brings Allow."""
    problem = problem_of(error)
    if problem.type == problems.INTERNAL.problem().type:
        log.error("internal error: %s at %s", type(error).__name__, _where(error))
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if problem.retry_after_seconds:
        headers["Retry-After"] = str(problem.retry_after_seconds)
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="truyvet"'
    return Response(problem.body(), status_code=problem.status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


def _where(error: Exception) -> str:
    """The innermost file and line; the message is left out, since it may hold personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
