"""Devices and their keys: list, read, enrol, rotate, revoke, restore. Private keys never come here."""

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, RawBody
from msgspec import Meta

from events import problems
from events.devices import Device, DeviceId, DeviceKey, Pseudonym
from events.places import PlaceId
from events.problems import ProblemError
from events.scans import AtMs
from events.text import Label
from keys import enrolment
from keys.enrolment import EnrolmentRefused
from keys.keyring import Revocation
from tracing.access import Permission
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit, page_by_id
from tracing.decoding import decode_body, decode_query
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.routes.places import NamePart, folded

OVERLAP_SECONDS_MAX: Final = 90 * 86_400
REASON_CHARACTERS_MAX: Final = 500
EXAMPLE_PUBLIC_KEY: Final = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
"""The first test vector of RFC 8032, section 7.1."""

PublicKey = Annotated[
    bytes,
    Meta(
        min_length=enrolment.PUBLIC_KEY_BYTES,
        max_length=enrolment.PUBLIC_KEY_BYTES,
        description="An Ed25519 public key, its 32 raw bytes in base64",
    ),
]


class DeviceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device to enrol with its first key: a scanner at a `place`, or the phone of a `subject`."""

    id: DeviceId
    label: Label = ""
    place: PlaceId | None = None
    subject: Pseudonym | None = None
    may_citizen_number: bool = False
    may_subject: bool = False
    public: PublicKey


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device's next key. The keys before it still sign for `overlap_seconds`."""

    public: PublicKey
    overlap_seconds: Annotated[int, Meta(ge=0, le=OVERLAP_SECONDS_MAX)] = enrolment.OVERLAP_SECONDS_DEFAULT


class RevocationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when (Unix ms, by the log's clock) a key is not to be trusted, and why (no personal data, please)."""

    from_: AtMs = msgspec.field(name="from")
    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)] = ""


class RestoringRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a key was never in wrong hands after all (no personal data, please)."""

    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)] = ""


class DeviceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A device as readers see it: for a phone it says that it is one, never whose."""

    id: str
    number: int
    label: str
    place: str | None
    phone: bool
    may_citizen_number: bool
    may_subject: bool


class KeyRevocation(msgspec.Struct, frozen=True, kw_only=True):
    """At `recorded` the key was revoked from `revoked_from` on; null: all before it was lifted. Times in Unix ms."""

    recorded: int
    revoked_from: int | None


class KeyDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One key: `public` is base64; in force for `valid_from ≤ now < valid_to`; untrusted from `revoked_from` on.

    `revocations` is all that was ever said of it, in order; a trace as of a moment goes by what was said by then.
    """

    number: int
    keyid: str
    public: bytes
    valid_from: int
    valid_to: int | None
    revoked_from: int | None
    revocations: list[KeyRevocation]


class DeviceDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A device with all keys that it ever had, by number."""

    device: DeviceSummary
    keys: list[KeyDetail]


class DevicesPage(msgspec.Struct, frozen=True):
    """Devices by id; `next` is the cursor of the page after, null on the last."""

    items: list[DeviceSummary]
    next: str | None


class DevicesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices to list: those that every given filter fits. `name` is searched in id and label."""

    place: PlaceId | None = None
    name: NamePart | None = None
    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


LIST: Final = Operation(
    name="list_devices",
    tag="Devices",
    summary="List the devices",
    permission=Permission.DEVICES_READ,
    query=DevicesQuery,
    successes=(Success(200, "A page of devices", DevicesPage),),
)
READ: Final = Operation(
    name="read_device",
    tag="Devices",
    summary="Read a device with its keys",
    permission=Permission.DEVICES_READ,
    successes=(Success(200, "The device", DeviceDetail),),
    problems=(problems.NOT_FOUND,),
)
ENROL: Final = Operation(
    name="enrol_device",
    tag="Devices",
    summary="Enrol a device with its first key",
    text="The device makes the key pair; only the public key comes here. The same enrolment again changes nothing.",
    permission=Permission.DEVICES_WRITE,
    body=DeviceRequest,
    example=DeviceRequest(id="cho-dong-xuan-1", label="Gate 1", place="cho-dong-xuan", public=EXAMPLE_PUBLIC_KEY),
    successes=(
        Success(201, "The device is enrolled", DeviceDetail),
        Success(200, "The device was enrolled so already", DeviceDetail),
    ),
    problems=(problems.REGISTRY_CONFLICT, problems.STREAM_DOWN),
)
ROTATE: Final = Operation(
    name="rotate_key",
    tag="Devices",
    summary="Give a device its next key",
    permission=Permission.DEVICES_WRITE,
    body=KeyRequest,
    example=KeyRequest(public=EXAMPLE_PUBLIC_KEY, overlap_seconds=86_400),
    successes=(Success(201, "The device with its keys", DeviceDetail),),
    problems=(problems.NOT_FOUND, problems.REGISTRY_CONFLICT, problems.STREAM_DOWN),
)
REVOKE: Final = Operation(
    name="revoke_key",
    tag="Devices",
    summary="Revoke a device's key from a time on",
    text=(
        "What the log received at or after `from` under this key is quarantined: no trace as of now or later uses it."
        " Of several revocations of a key the earliest time counts. Restoring the key lifts them all."
    ),
    permission=Permission.DEVICES_WRITE,
    body=RevocationRequest,
    example=RevocationRequest(from_=1_635_000_000_000, reason="The scanner was stolen"),
    successes=(Success(200, "The device with its keys", DeviceDetail),),
    problems=(problems.NOT_FOUND, problems.STREAM_DOWN),
)
RESTORE: Final = Operation(
    name="restore_key",
    tag="Devices",
    summary="Lift every revocation of a device's key",
    text=(
        "For a key that was never in wrong hands. Its scans count again for every trace as of now or later, which"
        " answers as if the key had never been revoked; a trace as of a moment before answers as it did. The key may"
        " sign again: what the edge refused meanwhile is still with the device. A key that should not sign any more is"
        " rotated instead, without overlap. A key that is not revoked stays as it is."
    ),
    permission=Permission.DEVICES_WRITE,
    body=RestoringRequest,
    example=RestoringRequest(reason="The scanner was found in the store room"),
    successes=(Success(200, "The device with its keys", DeviceDetail),),
    problems=(problems.NOT_FOUND, problems.STREAM_DOWN),
)


@get("/v1/devices", opt={OPERATION: LIST}, sync_to_thread=True)
def list_devices(request: Asked, parts: Given) -> Response[bytes]:
    """A page of the devices that fit, by id."""
    query = decode_query(request.query_params.multi_items(), DevicesQuery)
    name = folded(query.name) if query.name is not None else None
    fitting = (device for device in parts.registry.keyring.devices() if _fits(device, query, name))
    devices, more = page_by_id(fitting, query.cursor, query.limit)
    return reply(DevicesPage([_summary(device) for device in devices], more))


@get("/v1/devices/{device_id:str}", opt={OPERATION: READ}, sync_to_thread=True)
def read_device(device_id: FromPath[str], parts: Given) -> Response[bytes]:
    """One device with its keys."""
    return reply(_detail(known_device(parts, device_id), parts))


@post("/v1/devices", opt={OPERATION: ENROL}, sync_to_thread=True)
def enrol_device(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Append the device and its first key unless the registry says the same already."""
    asked = decode_body(body, request.headers.get("content-type", ""), DeviceRequest)
    if (asked.place is None) == (asked.subject is None):
        detail = "Name exactly one of place (a scanner) and subject (a phone)."
        raise ProblemError(problems.BODY_INVALID.problem(detail, pointer="/place"))
    with parts.registrar.lock:
        known = parts.registry.keyring.device(asked.id)
        if known is not None:
            _require_same(asked, known, parts)
            return reply(_detail(known, parts))
        if asked.place is not None and asked.place not in parts.registry.places().by_id:
            raise ProblemError(problems.REGISTRY_CONFLICT.problem("No place has this id.", pointer="/place"))
        _require_trustworthy(asked.public)
        _require_own(asked.public, asked.id, parts)
        device = _named(asked, parts.registrar.next_device_number())
        parts.registrar.record(*enrolment.enrolled(device, asked.public, parts.clock()))
        return reply(_detail(device, parts), 201)


@post("/v1/devices/{device_id:str}/keys", opt={OPERATION: ROTATE}, sync_to_thread=True)
def rotate_key(request: Asked, device_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """Append one more key, and the end of those before it."""
    asked = decode_body(body, request.headers.get("content-type", ""), KeyRequest)
    _require_trustworthy(asked.public)
    with parts.registrar.lock:
        device = known_device(parts, device_id)
        _require_own(asked.public, device_id, parts)
        keys = parts.registry.keyring.keys_of(device_id)
        try:
            events = enrolment.rotated(keys, asked.public, parts.clock(), overlap_seconds=asked.overlap_seconds)
        except EnrolmentRefused as error:
            raise ProblemError(problems.REGISTRY_CONFLICT.problem(_sentence(error), pointer="/public")) from None
        parts.registrar.record(*events)
    return reply(_detail(device, parts), 201)


@post(
    "/v1/devices/{device_id:str}/keys/{number:int}/revoke",
    opt={OPERATION: REVOKE},
    status_code=200,
    sync_to_thread=True,
)
def revoke_key(
    request: Asked, device_id: FromPath[str], number: FromPath[int], body: RawBody, parts: Given
) -> Response[bytes]:
    """Append the revocation."""
    asked = decode_body(body, request.headers.get("content-type", ""), RevocationRequest)
    device = known_device(parts, device_id)
    parts.registrar.record(*enrolment.revoked(known_key(parts, device_id, number), asked.from_, asked.reason))
    return reply(_detail(device, parts))


@post(
    "/v1/devices/{device_id:str}/keys/{number:int}/restore",
    opt={OPERATION: RESTORE},
    status_code=200,
    sync_to_thread=True,
)
def restore_key(
    request: Asked, device_id: FromPath[str], number: FromPath[int], body: RawBody, parts: Given
) -> Response[bytes]:
    """Append the lifting where there is something to lift."""
    asked = decode_body(body, request.headers.get("content-type", ""), RestoringRequest)
    device = known_device(parts, device_id)
    with parts.registrar.lock:
        if events := enrolment.restored(known_key(parts, device_id, number), asked.reason):
            parts.registrar.record(*events)
    return reply(_detail(device, parts))


def known_device(parts: Parts, device_id: str) -> Device:
    """The device of an id. Raises NOT_FOUND as `ProblemError`."""
    device = parts.registry.keyring.device(device_id)
    if device is None:
        raise ProblemError(problems.NOT_FOUND.problem("No device has this id."))
    return device


def known_key(parts: Parts, device_id: str, number: int) -> DeviceKey:
    """A device's key by its number. Raises NOT_FOUND as `ProblemError`."""
    key = parts.registry.keyring.key(f"{device_id}.{number}")
    if key is None:
        raise ProblemError(problems.NOT_FOUND.problem("The device has no key of this number."))
    return key


def _named(asked: DeviceRequest, number: int) -> Device:
    return Device(
        id=asked.id,
        number=number,
        label=asked.label,
        place=asked.place,
        subject=asked.subject,
        may_citizen_number=asked.may_citizen_number,
        may_subject=asked.may_subject,
    )


def _require_same(asked: DeviceRequest, known: Device, parts: Parts) -> None:
    """Raise REGISTRY_CONFLICT as `ProblemError` where a repeated enrolment says something else."""
    first = parts.registry.keyring.key(f"{asked.id}.{enrolment.FIRST_KEY}")
    if _named(asked, known.number) != known or first is None or first.public != asked.public:
        detail = "A device of this id is enrolled with other values or another first key."
        raise ProblemError(problems.REGISTRY_CONFLICT.problem(detail, pointer="/id"))


def _require_trustworthy(public: bytes) -> None:
    error = enrolment.public_key_error(public)
    if error is not None:
        raise ProblemError(problems.BODY_INVALID.problem(_sentence(error), pointer="/public"))


def _require_own(public: bytes, device_id: str, parts: Parts) -> None:
    holder = parts.registry.keyring.holder_of(public)
    if holder is not None and holder != device_id:
        detail = f"Device {holder} signs with this key. Make a key pair for each device."
        raise ProblemError(problems.REGISTRY_CONFLICT.problem(detail, pointer="/public"))


def _sentence(reason: object) -> str:
    text = str(reason)
    return f"{text[:1].upper()}{text[1:]}."


def _fits(device: Device, query: DevicesQuery, name: str | None) -> bool:
    return (query.place is None or device.place == query.place) and (
        name is None or name in folded(device.id) or name in folded(device.label)
    )


def _summary(device: Device) -> DeviceSummary:
    return DeviceSummary(
        id=device.id,
        number=device.number,
        label=device.label,
        place=device.place,
        phone=device.subject is not None,
        may_citizen_number=device.may_citizen_number,
        may_subject=device.may_subject,
    )


def _detail(device: Device, parts: Parts) -> DeviceDetail:
    keyring = parts.registry.keyring
    keys = [_key(key, keyring.revocations_of(device.id, key.key)) for key in keyring.keys_of(device.id)]
    return DeviceDetail(device=_summary(device), keys=keys)


def _key(key: DeviceKey, revocations: Iterable[Revocation]) -> KeyDetail:
    return KeyDetail(
        number=key.key,
        keyid=key.keyid,
        public=key.public,
        valid_from=key.valid_from,
        valid_to=key.valid_to,
        revoked_from=key.revoked_from,
        revocations=[
            KeyRevocation(recorded=revocation.recorded, revoked_from=revocation.revoked_from)
            for revocation in revocations
        ],
    )


ROUTES: Final = (list_devices, read_device, enrol_device, rotate_key, revoke_key, restore_key)
