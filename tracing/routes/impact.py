"""What revoking a key changes, before it is revoked or after."""

from typing import Annotated, Final

import msgspec
from litestar import Response, post
from litestar.params import FromPath, RawBody
from msgspec import Meta

from events import codec, problems
from events.devices import Device, DeviceKey
from events.problems import ProblemError
from events.scans import AtMs
from tracing.access import Permission
from tracing.answer import Answer
from tracing.audit import Action, purpose_of
from tracing.cursor import Cursor
from tracing.decoding import decode_body
from tracing.impact import Effect, Quarantined, Supposition, TraceImpact, quarantined, trace_impact
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.routes.devices import known_device, known_key

TRACES_A_PAGE_MAX: Final = 100
TRACES_A_PAGE_DEFAULT: Final = 20


class ImpactRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when (Unix ms, by the log's clock) the key would not be trusted; by default as it is revoked now.

    `limit` saved traces are looked at, those after `cursor`, newest first. The purpose is kept in the audit log.
    """

    from_: AtMs | None = msgspec.field(default=None, name="from")
    limit: Annotated[int, Meta(ge=1, le=TRACES_A_PAGE_MAX)] = TRACES_A_PAGE_DEFAULT
    cursor: Cursor | None = None
    purpose: str = ""


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """What a revocation of the key from `from` (Unix ms) on changes; `revoked`: it is in force.

    `traces` are the page's saved traces that change, or of which nobody can say; `looked_at` were looked at. `next` is
    the cursor of the page after, null on the last.
    """

    device: str
    key: int
    from_: int = msgspec.field(name="from")
    revoked: bool
    quarantined: Quarantined
    looked_at: int
    traces: list[TraceImpact]
    next: str | None


IMPACT: Final = Operation(
    name="read_key_impact",
    tag="Devices",
    summary="Say what revoking a device's key changes",
    text=(
        "Nothing is revoked. Counts the scans that the log received under the key at or after `from`, and asks the"
        " saved traces again, as of their own moments, as if the revocation had been known then: which contacts would"
        " be added, removed or changed, and by which scans. Without `from`, of a key that is revoked: what that has"
        " changed. A look at people, recorded with its purpose."
    ),
    permission=Permission.DEVICES_WRITE,
    person=True,
    body=ImpactRequest,
    example=ImpactRequest(from_=1_635_000_000_000, purpose="The scanner at gate 1 was stolen"),
    successes=(Success(200, "What it changes", Impact),),
    problems=(problems.NOT_FOUND, problems.REGISTRY_CONFLICT, problems.BEHIND, problems.STREAM_DOWN),
)


@post(
    "/v1/devices/{device_id:str}/keys/{number:int}/impact",
    opt={OPERATION: IMPACT},
    status_code=200,
    sync_to_thread=True,
)
def read_key_impact(
    request: Asked, device_id: FromPath[str], number: FromPath[int], body: RawBody, parts: Given
) -> Response[bytes]:
    """One page of the saved traces, each asked again, after the look at them is recorded."""
    asked = decode_body(body, request.headers.get("content-type", ""), ImpactRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    device, key = known_device(parts, device_id), known_key(parts, device_id, number)
    since = key.revoked_from if asked.from_ is None else asked.from_
    if since is None:
        detail = "The key is not revoked: say from when on it would be."
        raise ProblemError(problems.REGISTRY_CONFLICT.problem(detail, pointer="/from"))
    scans = quarantined(parts.store, device.number, key.key, since, parts.registry.kept.kept_from)
    page = parts.saved.page(asked.limit, asked.cursor)
    supposition = _supposition(parts, device, key, since)
    traces = [
        trace_impact(supposition, codec.from_json(text, Answer), one.actor, scans)
        for one in page.items
        if (text := parts.saved.answer(one.id)) is not None
    ]
    people = sorted({name for one in traces for name in one.people})
    parts.audit.write(parts.clock(), request.auth, Action.IMPACT_ASKED, key.keyid, purpose, people=people)
    return reply(
        Impact(
            device=device.id,
            key=key.key,
            from_=since,
            revoked=key.revoked_from is not None and key.revoked_from <= since,
            quarantined=scans,
            looked_at=len(page.items),
            traces=[one for one in traces if one.effect is not Effect.UNCHANGED],
            next=page.next,
        )
    )


def _supposition(parts: Parts, device: Device, key: DeviceKey, since: int) -> Supposition:
    return Supposition(
        store=parts.store,
        registry=parts.registry,
        supposed=parts.supposed_registries.of(device, key.key, since),
        tracer=parts.tracer,
        watermarks=parts.watermarks,
        clock=parts.clock,
        random=parts.random,
    )


ROUTES: Final = (read_key_impact,)
