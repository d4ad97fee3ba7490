"""The audit log, for those who supervise: read it, keep its head, follow its chain."""

from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.params import RawBody
from msgspec import Meta

from events import problems
from events.audit import GENESIS, NUMBER_MAX, Head
from keys.audit_chain import Checkpoint, Hash
from tracing.access import Permission
from tracing.audit import AuditPage
from tracing.audit_verify import STEP_ENTRIES, STEP_ENTRIES_WITH_ANSWERS, Verified
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit
from tracing.decoding import decode_body, decode_query
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the log to read."""

    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to go on: behind entry `after` with that `hash`, as the step before said; both are left out at first.

    The chain must pass through `checkpoint`, if one is given. `answers`: compare the saved answers, too.
    """

    after: Annotated[int, Meta(ge=0, le=NUMBER_MAX)] = 0
    hash: Hash = GENESIS.hex()
    checkpoint: Checkpoint | None = None
    answers: bool = False


LIST: Final = Operation(
    name="list_audit",
    tag="Audit",
    summary="Who looked at whom, when, why",
    text=(
        "Newest first. People stand here as tags, which the service alone can make of a pseudonym:"
        " `POST /v1/people/access-log` finds what concerns one person."
    ),
    permission=Permission.AUDIT_READ,
    query=AuditQuery,
    successes=(Success(200, "A page of entries", AuditPage),),
    problems=(problems.STORE_DOWN, problems.AUDIT_DOWN),
)
HEAD: Final = Operation(
    name="read_audit_head",
    tag="Audit",
    summary="The audit chain's head, signed, for an auditor to keep",
    text=(
        "Whoever can write to the store could cut the log's end off, or compute all of it anew. A checkpoint that"
        " somebody keeps elsewhere tells: send it with `POST /v1/audit/verify`."
    ),
    permission=Permission.AUDIT_READ,
    successes=(Success(200, "A checkpoint", Checkpoint),),
    problems=(problems.STORE_DOWN, problems.AUDIT_DOWN),
)
VERIFY: Final = Operation(
    name="verify_audit",
    tag="Audit",
    summary="Follow the audit chain one step",
    text=(
        "Every entry carries a hash over the one before it, itself and its number. A step follows up to"
        f" {STEP_ENTRIES:,} entries ({STEP_ENTRIES_WITH_ANSWERS} with `answers`); go on from the `number` and `hash`"
        " that it names until `done`, or until `broken` says which entry is altered, removed, inserted, reordered,"
        " truncated (the chain ended further on once) or rewritten (another chain than a checkpoint knows)."
    ),
    permission=Permission.AUDIT_READ,
    body=VerifyRequest,
    example=VerifyRequest(),
    successes=(Success(200, "How far the chain holds", Verified),),
    problems=(problems.CHECKPOINT_FOREIGN, problems.STORE_DOWN, problems.AUDIT_DOWN),
)


@get("/v1/audit", opt={OPERATION: LIST}, sync_to_thread=True)
def list_audit(request: Asked, parts: Given) -> Response[bytes]:
    """A page of the audit log."""
    query = decode_query(request.query_params.multi_items(), AuditQuery)
    return reply(parts.audit.page(query.limit, query.cursor))


@get("/v1/audit/head", opt={OPERATION: HEAD}, sync_to_thread=True)
def read_audit_head(parts: Given) -> Response[bytes]:
    """The signed head."""
    return reply(parts.audit.head())


@post("/v1/audit/verify", opt={OPERATION: VERIFY}, status_code=200, sync_to_thread=True)
def verify_audit(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """One step along the chain."""
    asked = decode_body(body, request.headers.get("content-type", ""), VerifyRequest)
    after = Head(asked.after, bytes.fromhex(asked.hash))
    return reply(parts.audit.verify(after, asked.checkpoint, answers=asked.answers))


ROUTES: Final = (list_audit, read_audit_head, verify_audit)
