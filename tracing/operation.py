"""What an endpoint promises, as one value: the guard, the documents and the tests all read the same one."""

from typing import Any, Final

import msgspec

from events import problems
from events.problems import Kind
from tracing.access import Permission

OPERATION: Final = "operation"
"""Under this name a route handler's `opt` holds its `Operation`; a route without one is refused to everybody."""


class Success(msgspec.Struct, frozen=True):
    """One way to succeed: the status, in words, and what the body holds (None: it is no JSON)."""

    status: int
    text: str
    body: type[Any] | None
    media_type: str = "application/json"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    `name` is its own among all, and stays: metrics and generated clients call it so. `permission` None means open to
    everybody, or with `signed` to devices, by a signature that the handler checks. `person` marks a look at a person:
    a purpose must be stated, in the body where there is one, else in the header. `example` is one of `body`.
    `problems` are those beyond what the other fields imply.
    """

    name: str
    tag: str
    summary: str
    text: str = ""
    permission: Permission | None
    signed: bool = False
    person: bool = False
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    example: msgspec.Struct | None = None
    successes: tuple[Success, ...]
    problems: tuple[Kind, ...] = ()

    @property
    def purpose_in_header(self) -> bool:
        """Whether the purpose travels in the header, for want of a body."""
        return self.person and self.body is None

    def all_problems(self) -> tuple[Kind, ...]:
        """Every way that this operation may fail, each once, by status."""
        kinds = list(self.problems)
        if self.permission is not None:
            kinds += [problems.TOKEN_MISSING, problems.TOKEN_INVALID, problems.ROLE_FORBIDDEN]
        if self.person:
            kinds += [problems.PURPOSE_MISSING, problems.STORE_DOWN, problems.AUDIT_DOWN, problems.AUDIT_FULL]
        if self.query is not None:
            kinds.append(problems.QUESTION_INVALID)
        if self.body is not None:
            kinds += [
                problems.CONTENT_TYPE_UNKNOWN,
                problems.BODY_MALFORMED,
                problems.BODY_INVALID,
                problems.BODY_TOO_LARGE,
            ]
        kinds.append(problems.INTERNAL)
        return tuple(sorted(dict.fromkeys(kinds), key=lambda kind: (kind.status, kind.name)))
