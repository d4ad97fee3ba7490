"""Who may see names now: so many an analyst and day, and where four eyes are asked for, a second person who agrees."""

import enum
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from events import codec, problems
from events.access import Token
from events.problems import ProblemError
from storage.reveals import RevealBook
from tracing.directory.rules import RevealRules

DAY_MS: Final = 86_400_000
REQUEST_ID_BYTES: Final = 8
OVER_KEPT_MS: Final = 7 * DAY_MS
"""A request that is over is still listed for so long, unless others need its place."""
REQUESTS_MAX: Final = 10_000
"""So many requests are kept. Each names up to 500 people: the stream's server then has some 200 MB of them."""


class RequestState(enum.StrEnum):
    """Where a request stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"


_OVER: Final = frozenset({RequestState.REFUSED, RequestState.EXPIRED})


class RevealRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's wish to see the names of people in a saved trace. Times in Unix ms.

    Pending, it is to be decided before `expires`; approved, to be opened before that.
    """

    id: str
    trace: str
    subjects: tuple[str, ...]
    purpose: str
    actor: str
    token: str
    asked_at: int
    expires: int
    state: RequestState = RequestState.PENDING
    decided_at: int | None = None
    decided_by: str | None = None
    reason: str = ""


class Reveals:
    """Requests, decisions and counts. Every method raises `StreamDown`."""

    def __init__(
        self, book: RevealBook, rules: RevealRules, *, clock: Callable[[], int], random: Callable[[int], bytes]
    ) -> None:
        self._book: Final = book
        self._clock: Final = clock
        self._random: Final = random
        self.rules: Final = rules

    def charge(self, token: Token, count: int) -> None:
        """Count names as seen. Raises REVEAL_LIMIT as `ProblemError` where it would be too many for one day."""
        now = self._clock()
        taken, used = self._book.charge(now // DAY_MS, token.name, count, self.rules.per_day)
        if not taken:
            rest = -(-(DAY_MS - now % DAY_MS) // 1000)
            detail = f"{used} of {self.rules.per_day} were seen since 00:00 UTC, and {count} more are asked for."
            raise ProblemError(problems.REVEAL_LIMIT.problem(detail, retry_after_seconds=rest))

    def ask(self, token: Token, trace: str, subjects: Sequence[str], purpose: str) -> RevealRequest:
        """A request, not yet kept: `keep` does that once it is recorded."""
        now = self._clock()
        return RevealRequest(
            id=self._random(REQUEST_ID_BYTES).hex(),
            trace=trace,
            subjects=tuple(subjects),
            purpose=purpose,
            actor=token.name,
            token=token.id,
            asked_at=now,
            expires=now + self._wait_ms(),
        )

    def keep(self, request: RevealRequest) -> None:
        """Make a request durable; the oldest that are over make room. Raises REVEALS_FULL as `ProblemError`.

        That is where too many wait, or may still be opened.
        """
        known = self.all()
        over = [one.id for one in reversed(known) if one.state in _OVER]
        self._book.forget(over[: max(len(known) - REQUESTS_MAX + 1, 0)])
        if not self._book.add(request.id, codec.to_json(request), REQUESTS_MAX, self._kept_seconds()):
            raise ProblemError(problems.REVEALS_FULL.problem())

    def pending(self, request_id: str, token: Token) -> RevealRequest:
        """A request that this person may decide.

        Raises as `ProblemError`: NOT_FOUND, REVEAL_OVER, and FOUR_EYES_OWN for who asked, whatever token they use.
        """
        request = self._known(request_id)
        if token.id == request.token or token.name == request.actor:
            raise ProblemError(problems.FOUR_EYES_OWN.problem())
        if request.state is not RequestState.PENDING:
            raise ProblemError(problems.REVEAL_OVER.problem(f"It is {request.state}."))
        return request

    def decide(self, request: RevealRequest, token: Token, reason: str, *, approved: bool) -> RevealRequest:
        """Decide a pending request. Raises REVEAL_OVER as `ProblemError` where somebody was faster."""
        now = self._clock()
        decided = msgspec.structs.replace(
            request,
            state=RequestState.APPROVED if approved else RequestState.REFUSED,
            decided_at=now,
            decided_by=token.name,
            reason=reason,
            expires=now + self._wait_ms() if approved else request.expires,
        )
        if not self._book.swap(request.id, codec.to_json(request), codec.to_json(decided), self._kept_seconds()):
            raise ProblemError(problems.REVEAL_OVER.problem("Somebody else has just decided it."))
        return decided

    def approved(self, request_id: str, token: Token) -> RevealRequest:
        """A request that this person may open now.

        Raises as `ProblemError`: NOT_FOUND, also for somebody else's; REVEAL_UNDECIDED; REVEAL_OVER.
        """
        request = self._known(request_id)
        if token.id != request.token:
            raise ProblemError(problems.NOT_FOUND.problem("You have no request of this id."))
        if request.state is RequestState.PENDING:
            raise ProblemError(problems.REVEAL_UNDECIDED.problem())
        if request.state is not RequestState.APPROVED:
            raise ProblemError(problems.REVEAL_OVER.problem(f"It is {request.state}."))
        return request

    def all(self) -> list[RevealRequest]:
        """Every request, newest first; those long over are forgotten on the way."""
        now = self._clock()
        known = [codec.from_json(content, RevealRequest) for content in self._book.requests()]
        self._book.forget([request.id for request in known if now >= request.expires + OVER_KEPT_MS])
        found = [_as_of(request, now) for request in known if now < request.expires + OVER_KEPT_MS]
        return sorted(found, key=lambda request: (request.asked_at, request.id), reverse=True)

    def _known(self, request_id: str) -> RevealRequest:
        content = self._book.request(request_id)
        if content is None:
            raise ProblemError(problems.NOT_FOUND.problem("No request has this id."))
        return _as_of(codec.from_json(content, RevealRequest), self._clock())

    def _kept_seconds(self) -> int:
        """How long a request is of use from now on, and listed."""
        return (self._wait_ms() + OVER_KEPT_MS) // 1000 + 1

    def _wait_ms(self) -> int:
        return int(self.rules.wait_seconds * 1000)


def _as_of(request: RevealRequest, now: int) -> RevealRequest:
    over = now >= request.expires and request.state in (RequestState.PENDING, RequestState.APPROVED)
    return msgspec.structs.replace(request, state=RequestState.EXPIRED) if over else request
