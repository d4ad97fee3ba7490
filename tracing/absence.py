"""Questions about people who were scanned nowhere in their windows: refused, with when they were. Pure."""

from collections.abc import Sequence

from events import problems
from events.problems import Problem, ProblemError
from tracing.answer import AnsweredIndex
from tracing.registry import Registry
from tracing.times import datetime_of


def absence(
    index: Sequence[AnsweredIndex],
    registry: Registry,
    *,
    pointer: str = "/index",
    subjects_pointer: str = "/index/subjects",
) -> Problem | None:
    """INDEX_WITHOUT_SCANS or SUBJECT_UNKNOWN where none of them has a stay, else None.

    It says when somebody was scanned: record who asked before it is answered. The pointers say where in the question
    all of them are named, and where those whom no case names.
    """
    if any(each.stays for each in index):
        return None
    before = [each.before for each in index if each.before is not None]
    after = [each.after for each in index if each.after is not None]
    entered = any(each.cases or registry.subject(each.subject) for each in index)
    if not before and not after and not entered:
        detail = "No case names them, nobody entered them, and nothing was scanned of them by as_of."
        return problems.SUBJECT_UNKNOWN.problem(detail, pointer=subjects_pointer)
    detail = f"Last scan before the window: {_said(max(before, default=None))}; first after it: "
    detail += f"{_said(min(after, default=None))}."
    return problems.INDEX_WITHOUT_SCANS.problem(detail, pointer=pointer)


def require_somebody(
    index: Sequence[AnsweredIndex],
    registry: Registry,
    *,
    pointer: str = "/index",
    subjects_pointer: str = "/index/subjects",
) -> None:
    """Raise that problem as `ProblemError`, where there is one."""
    problem = absence(index, registry, pointer=pointer, subjects_pointer=subjects_pointer)
    if problem is not None:
        raise ProblemError(problem)


def _said(at: int | None) -> str:
    return "none by as_of" if at is None else datetime_of(at).strftime("%Y-%m-%dT%H:%M:%SZ")
