"""The audit log as it lies in two places: what waits in the stream, and what is in the store.

The stream is asked first, then the store for what is older than the oldest that waits: an entry that moves meanwhile is
met once, wherever it is.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from events import codec, problems
from events.audit import START, AuditEvent, Head
from events.problems import ProblemError
from keys.audit_chain import Row
from storage import clickhouse
from storage.audit_stream import AuditStream, Link
from storage.clickhouse import Store
from storage.errors import StreamDown, StreamFull

T = TypeVar("T")

_SELECT: Final = (
    "SELECT number, hash, toUnixTimestamp64Milli(at), actor, token, toString(role), toString(action), object, purpose,"
    " arrayMap(tag -> lower(hex(tag)), people), digest FROM audit_chain"
)


def answerable(ask: Callable[[], T]) -> T:
    """What the audit stream answers. Raises AUDIT_DOWN and AUDIT_FULL as `ProblemError`."""
    try:
        return ask()
    except StreamFull as error:
        raise ProblemError(problems.AUDIT_FULL.problem()) from error
    except StreamDown as error:
        raise ProblemError(problems.AUDIT_DOWN.problem()) from error


class AuditReader:
    """Reads entries. Every method raises `StoreDown`, and AUDIT_DOWN as `ProblemError`."""

    def __init__(self, store: Store, stream: AuditStream) -> None:
        self._store: Final = store
        self._stream: Final = stream

    def stored(self) -> Head:
        """The last entry in the store."""
        rows = self._store.rows("SELECT number, hash FROM audit_chain ORDER BY number DESC LIMIT 1")
        return Head(rows[0][0], rows[0][1]) if rows else START

    def newest(self, before: int, limit: int) -> list[Row]:
        """Up to `limit` entries of numbers below `before`, newest first."""
        found = [_waiting(link) for link in answerable(lambda: self._stream.newest(before, limit))]
        if len(found) == limit:
            return found
        where = "WHERE number < {before:UInt64} ORDER BY number DESC LIMIT {limit:UInt32}"
        older = found[-1].event.number if found else before
        return found + self._stored(where, {"before": older, "limit": limit - len(found)})

    def between(self, after: int, upto: int) -> tuple[list[Row], set[int]]:
        """Every row of numbers behind `after` and up to `upto`, by number, whatever is wrong with them.

        Beside them the numbers of those that wait.
        """
        waiting = [link for link in answerable(lambda: self._stream.waiting(after)) if link.number <= upto]
        known = {(link.number, link.hash) for link in waiting}
        where = "WHERE number > {after:UInt64} AND number <= {upto:UInt64} ORDER BY number, hash"
        rows = self._stored(where, {"after": after, "upto": upto})
        rows = [row for row in rows if (row.event.number, row.hash) not in known]
        rows += [_waiting(link) for link in waiting]
        return sorted(rows, key=lambda row: (row.event.number, row.hash)), {link.number for link in waiting}

    def about(self, tag: str, objects: Sequence[str], before: int, limit: int) -> list[Row]:
        """Up to `limit` entries about a person, newest first, below `before`.

        One that names people by their tags concerns those alone; any other, whoever one of the objects names.
        """
        wanted = set(objects)

        def concerns(row: Row) -> bool:
            return tag in row.event.people if row.event.people else row.event.object in wanted

        waiting = [_waiting(link) for link in answerable(self._stream.waiting)]
        found = [row for row in reversed(waiting) if row.event.number < before and concerns(row)]
        oldest = min((row.event.number for row in waiting), default=before)
        where = (
            "WHERE number < {before:UInt64} AND (has(people, toFixedString(unhex({tag:String}), 16))"
            " OR (empty(people) AND object IN {objects:Array(String)})) ORDER BY number DESC LIMIT {limit:UInt32}"
        )
        values = {"before": min(oldest, before), "tag": tag, "objects": list(objects), "limit": limit}
        return [*found, *self._stored(where, values)][:limit]

    def _stored(self, where: str, values: dict[str, Any]) -> list[Row]:
        return [_row(row) for row in self._store.rows(f"{_SELECT} {where}", values)]


def _row(row: clickhouse.Row) -> Row:
    number, found, at, actor, token, role, action, object_id, purpose, people, digest = row
    event = AuditEvent(
        number=number,
        at=at,
        actor=actor,
        token=token,
        role=role,
        action=action,
        object=object_id,
        purpose=purpose,
        people=tuple(people),
        digest=digest,
    )
    return Row(event, found)


def _waiting(link: Link) -> Row:
    return Row(codec.from_json(link.entry, AuditEvent), link.hash)
