"""Questions about people who were scanned nowhere in their windows: refused, with when they were. Pure."""

from collections.abc import Iterable
from datetime import timedelta

from events import problems
from events.problems import ProblemError
from tracing.answer import AnsweredIndex
from tracing.times import EPOCH


def require_somebody(index: Iterable[AnsweredIndex], pointer: str) -> None:
    """Raise INDEX_WITHOUT_SCANS as `ProblemError` where no stay of anybody touches their window.

    The detail names the nearest scans, so who asked must have been recorded before.
    """
    people = list(index)
    if any(each.stays for each in people):
        return
    before = max((each.before for each in people if each.before is not None), default=None)
    after = min((each.after for each in people if each.after is not None), default=None)
    detail = f"Last scan before the window: {_said(before)}; first after it: {_said(after)}."
    raise ProblemError(problems.INDEX_WITHOUT_SCANS.problem(detail, pointer=pointer))


def _said(at: int | None) -> str:
    return "none by as_of" if at is None else (EPOCH + timedelta(milliseconds=at)).isoformat(timespec="seconds")
