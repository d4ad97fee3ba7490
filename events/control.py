"""What changes the registries: a small stream of events that every process follows and replays.

Tags carry a version: a new meaning is a new tag, so that an old log stays readable for good.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from events.access import Token
from events.cases import Case, CaseId, Subject
from events.devices import Device, DeviceId, DeviceKey, Pseudonym
from events.places import Place
from events.scans import AtMs


class PlaceRegistered(msgspec.Struct, frozen=True, tag="place.v1"):
    """A place is new, or differs from now on; the last one of a place id counts."""

    place: Place


class DeviceEnrolled(msgspec.Struct, frozen=True, tag="device.v1"):
    """A device is new, or may do something else from now on."""

    device: Device


class DeviceKeyAdded(msgspec.Struct, frozen=True, tag="device-key.v1"):
    """A device may sign with one more key."""

    key: DeviceKey


class DeviceKeyRetired(msgspec.Struct, frozen=True, tag="device-key-retired.v1"):
    """A key's overlap after a rotation ends at `valid_to` (ms)."""

    device: DeviceId
    key: int
    valid_to: int


class DeviceKeyRevoked(msgspec.Struct, frozen=True, tag="device-key-revoked.v1"):
    """A key cannot be trusted from `revoked_from` (ms, of the log's clock) on."""

    device: DeviceId
    key: int
    revoked_from: int
    reason: str = ""


class DeviceKeyRestored(msgspec.Struct, frozen=True, tag="device-key-restored.v1"):
    """Every revocation of the key that was recorded before this is lifted: it was never in wrong hands."""

    device: DeviceId
    key: int
    reason: str = ""


class CodeRevoked(msgspec.Struct, frozen=True, tag="code-revoked.v1"):
    """A personal code was lost or photographed. `code` is its id: its nonce, 24 hex digits."""

    code: Annotated[str, Meta(pattern=r"^[0-9a-f]{24}$(?!\n)")]


class CodesRevoked(msgspec.Struct, frozen=True, tag="codes-revoked.v1"):
    """Every personal code of a subject that was issued before `issued_before` (ms) is void."""

    subject: Pseudonym
    issued_before: int


class SubjectAdded(msgspec.Struct, frozen=True, tag="subject.v1"):
    """A subject was entered by hand; codes need no such entry, since they carry their pseudonym sealed."""

    subject: Subject


class CaseConfirmed(msgspec.Struct, frozen=True, tag="case.v1"):
    """A case is new, or its window is corrected; the last one of a case id counts."""

    case: Case


class CaseClosed(msgspec.Struct, frozen=True, tag="case-closed.v1"):
    """Nobody works on the case any more since `closed_at` (ms): its saved traces go when their time is over."""

    case: CaseId
    closed_at: AtMs


class CaseReopened(msgspec.Struct, frozen=True, tag="case-reopened.v1"):
    """The case is worked on again: its saved traces stay."""

    case: CaseId


class RetentionAdvanced(msgspec.Struct, frozen=True, tag="retention.v1"):
    """No scan that happened before `kept_from` (ms) counts any more; those are deleted. The latest moment counts."""

    kept_from: AtMs


class TokenIssued(msgspec.Struct, frozen=True, tag="token.v1"):
    """Somebody may use the service."""

    token: Token


class TokenRevoked(msgspec.Struct, frozen=True, tag="token-revoked.v1"):
    """Somebody may no longer."""

    token: str


ControlEvent = (
    PlaceRegistered
    | DeviceEnrolled
    | DeviceKeyAdded
    | DeviceKeyRetired
    | DeviceKeyRevoked
    | DeviceKeyRestored
    | CodeRevoked
    | CodesRevoked
    | SubjectAdded
    | CaseConfirmed
    | CaseClosed
    | CaseReopened
    | RetentionAdvanced
    | TokenIssued
    | TokenRevoked
)


class Recorded(msgspec.Struct, frozen=True):
    """A control event with when (ms) the control stream took it in; never decreases along the stream."""

    at: int
    event: ControlEvent
