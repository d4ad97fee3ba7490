"""What may go wrong between a program and the service, as exceptions that can be told apart."""

from http import HTTPStatus
from typing import Final

from events.problems import Problem


class TruyvetError(Exception):
    """The root of this package's exceptions."""


class Unreachable(TruyvetError):
    """Nobody answers at the address, or the answer breaks off."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} does not answer ({reason})")
        self.url: Final = url
        self.reason: Final = reason


class WrongAnswer(TruyvetError):
    """Somebody answers who is no Truyvet, or one of another release; the text says what was expected."""


class Refused(TruyvetError):
    """The service says no. `problem` is its RFC 9457 document: what, where in the request, and what to do next."""

    def __init__(self, problem: Problem) -> None:
        parts = [problem.title, problem.detail, f"at {problem.pointer}" if problem.pointer else "", problem.action]
        super().__init__(" ".join(part.rstrip(".") + "." for part in parts if part))
        self.problem: Final = problem


class Forbidden(Refused):
    """401 or 403: the token is missing, over, or of a role that may not."""


class NotFound(Refused):
    """404: nothing of this id or name."""


class Invalid(Refused):
    """400, 409, 413, 415 or 422: the question contradicts itself, passes a limit, or lacks its purpose."""


class Busy(Refused):
    """429 or 503: not now. `problem.retry_after_seconds` says when; the client has waited as long as it may."""


_BY_STATUS: Final[dict[int, type[Refused]]] = {
    HTTPStatus.UNAUTHORIZED: Forbidden,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.BAD_REQUEST: Invalid,
    HTTPStatus.CONFLICT: Invalid,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Invalid,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Invalid,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
    HTTPStatus.TOO_MANY_REQUESTS: Busy,
    HTTPStatus.SERVICE_UNAVAILABLE: Busy,
}


def refusal(problem: Problem) -> Refused:
    """The exception of a problem document."""
    return _BY_STATUS.get(problem.status, Refused)(problem)
