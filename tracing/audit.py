"""Who looked at whom, when, why: written before the answer leaves, read by administrators.

An answer that could not be recorded is not given: `AuditLog.write` raises where nothing can be appended. Entries wait
in the stream and lie in the store soon after (`ingest.audit_archive`); a reader asks the stream first, then the store
for what is older than the oldest that waits, so that an entry is met once wherever it is.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from events import problems
from events.access import Token
from events.audit import NUMBER_MAX, AuditEvent, Head, SavedAnswer, packed
from events.problems import ProblemError
from keys.audit_chain import Checkpoint, Row, checkpoint, genuine, person_tag
from keys.secrets import ServerSecrets
from storage.audit_stream import AuditStream
from storage.clickhouse import Store
from storage.saved_traces import insert_saved
from tracing.audit_reader import AuditReader, answerable
from tracing.audit_verify import Verified, verified
from tracing.audit_writer import AuditWriter, Draft
from tracing.cursor import cursor_of, position_of

PURPOSE_CHARACTERS_MIN: Final = 10
PURPOSE_CHARACTERS_MAX: Final = 500
PEOPLE_PER_ENTRY_MAX: Final = 1_000
"""Who looks at more people at once leaves several entries."""
SAVED_STREAM_BYTES_MAX: Final = 1_000_000
"""An answer larger than this, in JSON, is laid into the store before it is given; a smaller one travels with its entry.
"""
SERVICE: Final = "truyvet"
"""The actor of what the service records of itself."""


class Action(enum.StrEnum):
    """What somebody did that the audit log keeps."""

    CASE_CREATED = "case-created"
    CASE_CORRECTED = "case-corrected"
    CASE_READ = "case-read"
    CASE_CLOSED = "case-closed"
    CASE_REOPENED = "case-reopened"
    RETENTION_RUN = "retention-run"
    IMPACT_ASKED = "impact-asked"
    DOUBTS_READ = "doubts-read"
    TRACE_ASKED = "trace-asked"
    TRACE_READ = "trace-read"
    TRACE_SWEPT = "trace-swept"
    TRACE_EXPORTED = "trace-exported"
    TIMELINE_EXPORTED = "timeline-exported"
    STAYS_READ = "stays-read"
    PROOF_READ = "proof-read"
    DEVICE_LOG_READ = "device-log-read"
    STATES_DECLARED = "states-declared"
    STATUS_READ = "status-read"
    QUARANTINE_READ = "quarantine-read"
    HEALTH_IMPORTED = "health-imported"
    SOURCES_ASKED = "sources-asked"
    EXPOSURES_ASKED = "exposures-asked"
    CLUSTERS_READ = "clusters-read"
    CLUSTERS_FOLLOWED = "clusters-followed"
    AUDIT_RESUMED = "audit-resumed"
    NAMES_IMPORTED = "names-imported"
    REVEAL_ASKED = "reveal-asked"
    REVEAL_APPROVED = "reveal-approved"
    REVEAL_REFUSED = "reveal-refused"
    PERSON_REVEALED = "person-revealed"
    PERSON_ERASED = "person-erased"
    PERSON_READMITTED = "person-readmitted"
    ACCESS_LOG_READ = "access-log-read"


class AuditItem(AuditEvent, frozen=True, kw_only=True):
    """An entry of the log with its hash, in hex."""

    hash: str


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first; `next` is the cursor of the page after, null on the last."""

    items: list[AuditItem]
    next: str | None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The number of the last entry given."""

    before: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


def purpose_of(text: str | None, *, pointer: str = "") -> str:
    """A stated purpose without surrounding space. Raises PURPOSE_MISSING as `ProblemError`."""
    purpose = (text or "").strip()
    if not PURPOSE_CHARACTERS_MIN <= len(purpose) <= PURPOSE_CHARACTERS_MAX:
        raise ProblemError(problems.PURPOSE_MISSING.problem(pointer=pointer))
    return purpose


class AuditLog:
    """Append, read, follow. Every method raises `StoreDown`, and AUDIT_DOWN as `ProblemError`."""

    def __init__(
        self,
        store: Store,
        stream: AuditStream,
        secrets: ServerSecrets,
        clock: Callable[[], int],
        *,
        on_waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`clock` gives Unix ms; `on_waited` is told how many seconds each entry was waited for."""
        self._store: Final = store
        self._stream: Final = stream
        self._secrets: Final = secrets
        self._clock: Final = clock
        self._reader: Final = AuditReader(store, stream)
        self._writer: Final = AuditWriter(stream, self._reader.stored, self._resumed, on_waited=on_waited)

    def write(
        self,
        at: int,
        token: Token,
        action: Action,
        object_id: str,
        purpose: str,
        *,
        people: Sequence[str] = (),
        saving: SavedAnswer | None = None,
    ) -> None:
        """Make a look durable, and the answer that is saved with it. `at` in Unix ms.

        `people` are the pseudonyms of those who are looked at, kept as tags; leave out whom the saved answer names.
        Raises AUDIT_DOWN and AUDIT_FULL as `ProblemError`, and `StoreDown`: then nothing may be answered.
        """
        carried = b""
        if saving is not None:
            if len(saving.answer) > SAVED_STREAM_BYTES_MAX:
                insert_saved(self._store, [saving])
            else:
                carried = packed(saving)
        tags = sorted({person_tag(one, self._secrets) for one in people})
        event = _event(at, token, action, object_id, purpose, digest=saving.digest if saving is not None else "")
        drafts = [
            Draft(msgspec.structs.replace(event, people=tuple(tags[start : start + PEOPLE_PER_ENTRY_MAX])))
            for start in range(0, max(len(tags), 1), PEOPLE_PER_ENTRY_MAX)
        ]
        drafts[0] = Draft(drafts[0].event, carried)
        answerable(lambda: self._writer.append(drafts))

    def write_each(
        self, at: int, token: Token, action: Action, object_id: str, purpose: str, *, people: Sequence[str]
    ) -> None:
        """The same with an entry of its own for each of the people, all or none."""
        event = _event(at, token, action, object_id, purpose)
        tags = dict.fromkeys(person_tag(one, self._secrets) for one in people)
        drafts = [Draft(msgspec.structs.replace(event, people=(tag,))) for tag in tags]
        answerable(lambda: self._writer.append(drafts))

    def page(self, limit: int, cursor: str | None) -> AuditPage:
        """Up to `limit` entries, newest first. Raises QUESTION_INVALID for a foreign cursor."""
        before = position_of(cursor, _Position).before if cursor is not None else NUMBER_MAX
        return _page(self._reader.newest(before, limit + 1), limit)

    def about(self, subject: str, traces: Sequence[str], limit: int, cursor: str | None) -> AuditPage:
        """The entries about a person: those that name them by tag, or concern one of the saved `traces`."""
        before = position_of(cursor, _Position).before if cursor is not None else NUMBER_MAX
        return _page(self._reader.about(person_tag(subject, self._secrets), traces, before, limit + 1), limit)

    def head(self) -> Checkpoint:
        """The chain's head, signed."""
        return checkpoint(answerable(self._writer.head), self._clock(), self._secrets.current)

    def verify(self, after: Head, kept: Checkpoint | None, *, answers: bool) -> Verified:
        """Follow the chain one step, see `tracing.audit_verify`.

        Raises CHECKPOINT_FOREIGN as `ProblemError` for a checkpoint that this server did not sign.
        """
        if kept is not None and not genuine(kept, self._secrets):
            raise ProblemError(problems.CHECKPOINT_FOREIGN.problem(pointer="/checkpoint"))
        return verified(self._reader, self._store, after, answerable(self._writer.head), kept, answers=answers)

    def _resumed(self, head: Head) -> Draft:
        """The entry that says that the stream had lost what it knew, and that the chain goes on behind the store's."""
        purpose = f"the stream knew no entry {head.number} or a later one; the chain goes on behind the store's"
        return Draft(
            AuditEvent(
                number=0,
                at=self._clock(),
                actor=SERVICE,
                token="",
                role="",
                action=Action.AUDIT_RESUMED.value,
                object=str(head.number),
                purpose=purpose,
            )
        )


def _event(at: int, token: Token, action: Action, object_id: str, purpose: str, *, digest: str = "") -> AuditEvent:
    return AuditEvent(
        number=0,
        at=at,
        actor=token.name,
        token=token.id,
        role=token.role.value,
        action=action.value,
        object=object_id,
        purpose=purpose,
        digest=digest,
    )


def _page(rows: Sequence[Row], limit: int) -> AuditPage:
    """The page of up to `limit` rows, of which one more was asked for."""
    items = [AuditItem(**msgspec.structs.asdict(row.event), hash=row.hash.hex()) for row in rows[:limit]]
    return AuditPage(items, cursor_of(_Position(items[-1].number)) if len(rows) > limit else None)
