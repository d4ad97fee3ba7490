"""One device's part of the log, delivery by delivery, for audits of what was acknowledged."""

from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from msgspec import Meta

from events import problems
from tracing.access import Permission
from tracing.audit import Action, purpose_of
from tracing.cursor import AfterSeq
from tracing.decoding import PURPOSE_HEADER, decode_query, purpose_text
from tracing.device_log import SEQ_DELIVERIES_MAX, DeviceLog, deliveries
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply
from tracing.routes.devices import known_device

DELIVERIES_MAX: Final = 50_000
DELIVERIES_DEFAULT: Final = 10_000


class DeviceLogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which deliveries: those above `after_seq`."""

    after_seq: AfterSeq = 0
    limit: Annotated[
        int, Meta(ge=1, le=DELIVERIES_MAX, description="How many deliveries a page holds at most; a seq stays whole")
    ] = DELIVERIES_DEFAULT


READ: Final = Operation(
    name="read_device_log",
    tag="Devices",
    summary="Read every delivery that the log has of a device",
    text=(
        "Deliveries by (seq, received), repeated ones too: the first of a seq counts. A seq that came more often than"
        f" `limit` is a page of its own; beyond {SEQ_DELIVERIES_MAX:,} the later ones are `left_out`. It names people,"
        " so it is recorded in the audit log with its purpose."
    ),
    permission=Permission.LOG_READ,
    person=True,
    query=DeviceLogQuery,
    successes=(Success(200, "A page of deliveries", DeviceLog),),
    problems=(problems.NOT_FOUND,),
)


@get("/v1/devices/{device_id:str}/scans", opt={OPERATION: READ}, sync_to_thread=True)
def read_device_log(request: Asked, device_id: FromPath[str], parts: Given) -> Response[bytes]:
    """A page of the device's log, after the look at it is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    query = decode_query(request.query_params.multi_items(), DeviceLogQuery)
    device = known_device(parts, device_id)
    page = deliveries(parts.store, parts.registry, device, query.after_seq, query.limit)
    people = {scan.subject for scan in page.scans}
    parts.audit.write(parts.clock(), request.auth, Action.DEVICE_LOG_READ, device.id, purpose, people=sorted(people))
    return reply(page)


ROUTES: Final = (read_device_log,)
