"""A device's view of its own count, for which it signs: what to send (again), and nothing about anybody else.

The signature is that of a batch (RFC 9421), without a body. It names the device, so the path need not.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.connection import Request as HttpRequest
from msgspec import Meta

from events import problems
from events.devices import Device
from events.problems import ProblemError
from events.scans import SEQUENCE_PATH, DeviceSequence, SeqRun
from ingest.limits import EdgeLimits
from ingest.verify import COVERED_WITHOUT_BODY, Verified, headers_of, request_of, verify_request
from tracing.cursor import AfterSeq
from tracing.decoding import decode_query
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Given, Parts, reply
from tracing.sequence import gaps_of, runs_to_resend, standing_of

RESEND_RUNS_MAX: Final = 1_000
LIMITS: Final = EdgeLimits()
"""A signature's age is bounded as at the edge."""


class SequenceQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page: the runs that end above `after_seq`, at most `limit`."""

    after_seq: AfterSeq = 0
    limit: Annotated[int, Meta(ge=1, le=RESEND_RUNS_MAX, description="How many runs a page holds at most")] = (
        RESEND_RUNS_MAX
    )


READ: Final = Operation(
    name="read_sequence",
    tag="Scans",
    summary="Ask, as a device, which of its own scans are missing",
    text=(
        "Signed by the device like a batch (RFC 9421, Ed25519), over `@method` and `@path`, and `@query` where there is"
        " one. A signature is taken once: sign each question anew. One question of a device is answered at a time, and"
        " one a second for long. Sending a scan again is always safe."
    ),
    permission=None,
    signed=True,
    query=SequenceQuery,
    successes=(Success(200, "The device's count", DeviceSequence),),
    problems=(
        problems.SIGNATURE_MISSING,
        problems.SIGNATURE_MALFORMED,
        problems.SIGNATURE_INCOMPLETE,
        problems.SIGNATURE_INVALID,
        problems.SIGNATURE_STALE,
        problems.KEY_UNKNOWN,
        problems.KEY_REVOKED,
        problems.RATE_EXCEEDED,
        problems.SERVER_BUSY,
        problems.BEHIND,
        problems.STREAM_DOWN,
        problems.STORE_DOWN,
    ),
)


@get(SEQUENCE_PATH, opt={OPERATION: READ}, sync_to_thread=True)
def read_sequence(request: HttpRequest[Any, Any, Any], parts: Given) -> Response[bytes]:
    """What the device that signed should send."""
    verified = verify_request(
        request_of(request.scope, headers_of(request.scope), b""),
        parts.registry.keyring,
        parts.clock(),
        LIMITS,
        parts.device_questions.require_rate,
        always_covered=COVERED_WITHOUT_BODY,
    )
    query = decode_query(request.query_params.multi_items(), SequenceQuery)
    device = verified.device
    # In its turn before anything is written: what is refused costs the stream's memory nothing.
    with parts.device_questions.turn(device.number):
        _use_up(verified, parts)
        parts.device_questions.count(device.number)  # only now: nobody uses up its rate by replaying what it signed
        return reply(_sequence(device, query, parts))


def _use_up(verified: Verified, parts: Parts) -> None:
    """Take a signature, once. Raises SIGNATURE_STALE as `ProblemError`."""
    seconds = LIMITS.signature_age_seconds_max + LIMITS.clock_skew_seconds_max
    if not parts.accounts.first_use(verified.signature, seconds + 1):
        raise ProblemError(problems.SIGNATURE_STALE.problem("This signature was used before; each is taken once."))


def _sequence(device: Device, query: SequenceQuery, parts: Parts) -> DeviceSequence:
    standing = standing_of(device.number, store=parts.store, watermarks=parts.watermarks, accounts=parts.accounts)
    found = gaps_of(standing, parts.store, after=query.after_seq, limit=query.limit + 1)
    gaps = found[: query.limit]
    more = gaps[-1].last if len(found) > len(gaps) else None
    runs = runs_to_resend(standing, gaps, last_page=more is None)
    upto = standing.seen_to if more is None else more
    return DeviceSequence(
        device=device.id,
        as_of=standing.as_of,
        settled=standing.settled,
        next_seq=runs[0][0] if runs else upto + 1,
        seen_to=standing.seen_to,
        missing=[SeqRun(first, last) for first, last in runs],
        next=more,
    )


ROUTES: Final = (read_sequence,)
