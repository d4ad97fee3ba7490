"""Devices that scan, and the keys that they sign with."""

from typing import Annotated

import msgspec
from msgspec import Meta

from events.places import PlaceId
from events.text import Label

DeviceId = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$(?!\n)")]
Pseudonym = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)", description="A subject's stable pseudonym")]


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scanner at a place (`place` set), or a person's own phone (`subject` set); never both.

    `number` is the registry's own, allotted once and never reused. A device may name people by citizen
    number or bare pseudonym only where the registry says so.
    """

    id: DeviceId
    number: Annotated[int, Meta(ge=0, lt=2**32)]
    label: Label = ""
    place: PlaceId | None = None
    subject: Pseudonym | None = None
    may_citizen_number: bool = False
    may_subject: bool = False


class DeviceKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Ed25519 public key of a device, in force for `valid_from ≤ now < valid_to`.

    A revocation counts *from a time*: what the log received at or after `revoked_from` under this key is
    quarantined, whatever the scans claim.
    """

    device: DeviceId
    key: Annotated[int, Meta(ge=1, lt=2**16)]
    public: Annotated[bytes, Meta(min_length=32, max_length=32)]
    valid_from: int
    valid_to: int | None = None
    revoked_from: int | None = None

    @property
    def keyid(self) -> str:
        """The `keyid` parameter of a request's signature: `<device>.<key>`."""
        return f"{self.device}.{self.key}"
