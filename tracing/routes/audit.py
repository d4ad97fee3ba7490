"""The audit log, for those who supervise."""

from typing import Final

import msgspec
from litestar import Response, get

from events import problems
from tracing.access import Permission
from tracing.audit import AuditPage
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit
from tracing.decoding import decode_query
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the log to read."""

    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


LIST: Final = Operation(
    name="list_audit",
    tag="Audit",
    summary="Who looked at whom, when, why",
    text="Newest first. The only place where a pseudonym stands beside who looked at it.",
    permission=Permission.AUDIT_READ,
    query=AuditQuery,
    successes=(Success(200, "A page of audit events", AuditPage),),
    problems=(problems.STORE_DOWN,),
)


@get("/v1/audit", opt={OPERATION: LIST}, sync_to_thread=True)
def list_audit(request: Asked, parts: Given) -> Response[bytes]:
    """A page of the audit log."""
    query = decode_query(request.query_params.multi_items(), AuditQuery)
    return reply(parts.audit.page(query.limit, query.cursor))


ROUTES: Final = (list_audit,)
