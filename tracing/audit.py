"""Who looked at whom, when, why: written before the answer leaves, read by administrators.

An answer that could not be recorded is not given: `AuditLog.write` raises where the store is down.
"""

import enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from events import problems
from events.access import AuditEvent, Role, Token
from events.problems import ProblemError
from events.scans import AT_MS_MAX, AtMs
from storage.clickhouse import Row, Store
from tracing.cursor import cursor_of, position_of
from tracing.times import datetime_of

PURPOSE_CHARACTERS_MIN: Final = 10
PURPOSE_CHARACTERS_MAX: Final = 500
COLUMNS: Final = ("at", "actor", "token", "role", "action", "object", "purpose")


class Action(enum.StrEnum):
    """What somebody did that the audit log keeps."""

    CASE_CREATED = "case-created"
    CASE_CORRECTED = "case-corrected"
    CASE_READ = "case-read"
    TRACE_ASKED = "trace-asked"
    TRACE_READ = "trace-read"
    STAYS_READ = "stays-read"
    PROOF_READ = "proof-read"
    DEVICE_LOG_READ = "device-log-read"


class AuditPage(msgspec.Struct, frozen=True):
    """Audit events, newest first; `next` is the cursor of the page after, null on the last."""

    items: list[AuditEvent]
    next: str | None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The ms of the last event given, and how many of that ms were given: equal events are kept apart by count."""

    at: AtMs
    given: Annotated[int, Meta(ge=1, lt=2**32)]


def purpose_of(text: str | None, *, pointer: str = "") -> str:
    """A stated purpose without surrounding space. Raises PURPOSE_MISSING as `ProblemError`."""
    purpose = (text or "").strip()
    if not PURPOSE_CHARACTERS_MIN <= len(purpose) <= PURPOSE_CHARACTERS_MAX:
        raise ProblemError(problems.PURPOSE_MISSING.problem(pointer=pointer))
    return purpose


class AuditLog:
    """The table `audit`: append and read."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    def write(self, at: int, token: Token, action: Action, object_id: str, purpose: str) -> None:
        """Make one event durable. `at` in Unix ms. Raises `StoreDown`: then nothing may be answered."""
        row = (datetime_of(at), token.name, token.id, token.role.value, action.value, object_id, purpose)
        self._store.insert("audit", COLUMNS, [row])

    def page(self, limit: int, cursor: str | None) -> AuditPage:
        """Up to `limit` events, newest first. Raises `StoreDown`, or QUESTION_INVALID for a foreign cursor."""
        position = position_of(cursor, _Position) if cursor is not None else None
        rows = self._store.rows(
            "SELECT toUnixTimestamp64Milli(at), actor, token, role, action, object, purpose FROM audit"
            " WHERE at <= fromUnixTimestamp64Milli({to:Int64}, 'UTC')"
            " ORDER BY at DESC, token DESC, action DESC, object DESC, purpose DESC"
            " LIMIT {limit:UInt32} OFFSET {given:UInt32}",
            {
                "to": position.at if position else AT_MS_MAX,
                "limit": limit + 1,
                "given": position.given if position else 0,
            },
        )
        items = [_event(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return AuditPage(items, None)
        last = items[-1].at
        given = sum(1 for item in items if item.at == last)
        if position and position.at == last:
            given += position.given
        return AuditPage(items, cursor_of(_Position(last, given)))


def _event(row: Row) -> AuditEvent:
    at, actor, token, role, action, object_id, purpose = row
    return AuditEvent(
        at=at, actor=actor, token=token, role=Role(role), action=action, object=object_id, purpose=purpose
    )
