"""The events of a device key's life: first key, rotation with an overlap, revocation from a time and its lifting.

Builders alone: the caller appends what they return to the control stream, in order. Stopping after any of the
events leaves a state that is safe: a rotation adds the new key before it ends the old ones.
"""

from collections.abc import Iterable
from typing import Final

from events.control import (
    ControlEvent,
    DeviceEnrolled,
    DeviceKeyAdded,
    DeviceKeyRestored,
    DeviceKeyRetired,
    DeviceKeyRevoked,
)
from events.devices import Device, DeviceKey

FIRST_KEY: Final = 1
KEY_NUMBER_MAX: Final = 2**16 - 1
PUBLIC_KEY_BYTES: Final = 32
OVERLAP_SECONDS_DEFAULT: Final = 7 * 86_400
"""How long the old key still signs: longer than a scanner stays offline with batches signed already."""

_SIGN_BIT: Final = 1 << 255
_FIELD: Final = 2**255 - 19
_ORDER_8_Y: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y: Final = frozenset({0, 1, _FIELD - 1, _ORDER_8_Y, _FIELD - _ORDER_8_Y})
"""The y coordinates of the eight points of small order on edwards25519 (RFC 7748, section 4.1, 8·P = O)."""


class EnrolmentRefused(ValueError):
    """A key cannot be given to a device. The message says why and what to do."""


def public_key_error(public: bytes) -> str | None:
    """Why these bytes are no public key to trust, or None.

    Under a key of small order anybody can make signatures that verify, without any private key.
    """
    if len(public) != PUBLIC_KEY_BYTES:
        return f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, not {len(public)}"
    y = int.from_bytes(public, "little") & (_SIGN_BIT - 1)
    if y >= _FIELD:
        return "this Ed25519 public key is not canonical: send the key as its library gives it"
    if y in _SMALL_ORDER_Y:
        return "this Ed25519 public key protects nothing (small order): make a new key pair"
    return None


def enrolled(device: Device, public: bytes, now_ms: int) -> list[ControlEvent]:
    """A new device with its first key, in force from now on. Raises `EnrolmentRefused`."""
    return [DeviceEnrolled(device), _key_added(device.id, FIRST_KEY, public, now_ms)]


def rotated(
    keys: Iterable[DeviceKey],
    public: bytes,
    now_ms: int,
    *,
    overlap_seconds: int = OVERLAP_SECONDS_DEFAULT,
) -> list[ControlEvent]:
    """One more key for a device; `keys` are all that it ever had. The old ones end after the overlap.

    A key that ends sooner by itself is left alone. Raises `EnrolmentRefused`.
    """
    old = sorted(keys, key=lambda key: key.key)
    if not old:
        raise EnrolmentRefused("the device has no key yet: enrol it first")
    if overlap_seconds < 0:
        raise EnrolmentRefused("an overlap lasts 0 seconds or longer")
    if any(key.public == public for key in old):
        raise EnrolmentRefused("the device has had this key already: make a new key pair")
    added = _key_added(old[-1].device, old[-1].key + 1, public, now_ms)
    ends = now_ms + overlap_seconds * 1000
    outlasting = [key for key in old if key.valid_to is None or key.valid_to > ends]
    return [added, *(DeviceKeyRetired(key.device, key.key, ends) for key in outlasting)]


def revoked(key: DeviceKey, revoked_from: int, reason: str = "") -> list[ControlEvent]:
    """A key that cannot be trusted from `revoked_from` (ms, of the log's clock) on, in the past as a rule."""
    return [DeviceKeyRevoked(key.device, key.key, revoked_from, reason)]


def restored(key: DeviceKey, reason: str = "") -> list[ControlEvent]:
    """Every revocation of the key is lifted: it was never in wrong hands. Nothing where none is in force."""
    return [DeviceKeyRestored(key.device, key.key, reason)] if key.revoked_from is not None else []


def _key_added(device_id: str, number: int, public: bytes, now_ms: int) -> DeviceKeyAdded:
    if number > KEY_NUMBER_MAX:
        raise EnrolmentRefused(f"a device has {KEY_NUMBER_MAX} keys at most: enrol it anew under another id")
    error = public_key_error(public)
    if error is not None:
        raise EnrolmentRefused(error)
    return DeviceKeyAdded(DeviceKey(device=device_id, key=number, public=public, valid_from=now_ms))
