"""The keyring: devices, their keys, and what was revoked, folded from control events."""

from collections.abc import Iterable
from typing import Final

import msgspec

from events.control import (
    CodeRevoked,
    CodesRevoked,
    DeviceEnrolled,
    DeviceKeyAdded,
    DeviceKeyRestored,
    DeviceKeyRetired,
    DeviceKeyRevoked,
    Recorded,
)
from events.devices import Device, DeviceKey
from keys.codes import PersonCode

NEVER_MS: Final = 2**62


class Revocation(msgspec.Struct, frozen=True):
    """A key cannot be trusted from `revoked_from` on, as the control stream took in at `recorded`. Both in ms.

    Without `revoked_from`, every revocation before it is lifted.
    """

    recorded: int
    revoked_from: int | None


class CodesRevocation(msgspec.Struct, frozen=True):
    """A subject's codes issued before `issued_before` are void, as the control stream took in at `recorded`. In ms."""

    recorded: int
    issued_before: int


class Keyring:
    """A fold of the control stream, in memory, for one thread.

    Applying an event again changes nothing: a process may replay what it has seen. Of several revocations of one
    key the earliest `revoked_from` counts, among those known at the moment asked about and not lifted by then.
    Nothing is forgotten: a moment between revocation and lifting goes on answering as it did.
    """

    def __init__(self) -> None:
        self._devices: Final[dict[str, Device]] = {}
        self._id_by_number: Final[dict[int, str]] = {}
        self._numbers: Final[dict[str, set[int]]] = {}
        self._keys: Final[dict[str, DeviceKey]] = {}
        self._keyids: Final[dict[str, list[str]]] = {}
        self._holders: Final[dict[bytes, str]] = {}
        self._revocations: Final[dict[tuple[str, int], list[Revocation]]] = {}
        self._revoked_codes: Final[dict[bytes, int]] = {}
        self._revoked_subjects: Final[dict[bytes, list[CodesRevocation]]] = {}

    def apply(self, recorded: Recorded) -> None:
        """Takes in one event of the stream; what does not concern devices, keys or codes is passed over."""
        match recorded.event:
            case DeviceEnrolled(device=device):
                self._devices[device.id] = device
                self._id_by_number[device.number] = device.id
                self._numbers.setdefault(device.id, set()).add(device.number)
            case DeviceKeyAdded(key=key):
                self._add(key, recorded.at)
            case DeviceKeyRetired(device=device_id, key=number, valid_to=valid_to):
                self._retire(device_id, number, valid_to)
            case DeviceKeyRevoked(device=device_id, key=number, revoked_from=revoked_from):
                self._revoke(device_id, number, Revocation(recorded.at, revoked_from))
            case DeviceKeyRestored(device=device_id, key=number):
                self._revoke(device_id, number, Revocation(recorded.at, None))
            case CodeRevoked(code=code):
                self._revoked_codes.setdefault(bytes.fromhex(code), recorded.at)
            case CodesRevoked(subject=subject, issued_before=issued_before):
                revocation = CodesRevocation(recorded.at, issued_before)
                revocations = self._revoked_subjects.setdefault(bytes.fromhex(subject), [])
                if revocation not in revocations:
                    revocations.append(revocation)

    def _add(self, key: DeviceKey, recorded_at: int) -> None:
        # A key number is given once: a second key under it would void the proof of all that the first one signed.
        if key.keyid in self._keys:
            return
        self._keys[key.keyid] = msgspec.structs.replace(key, revoked_from=None)
        self._keyids.setdefault(key.device, []).append(key.keyid)
        self._holders.setdefault(key.public, key.device)
        if key.revoked_from is not None:
            self._revoke(key.device, key.key, Revocation(recorded_at, key.revoked_from))
        self._mark_revoked(key.device, key.key)

    def _retire(self, device_id: str, number: int, valid_to: int) -> None:
        keyid = f"{device_id}.{number}"
        key = self._keys.get(keyid)
        if key is not None:
            self._keys[keyid] = msgspec.structs.replace(key, valid_to=valid_to)

    def _revoke(self, device_id: str, number: int, revocation: Revocation) -> None:
        revocations = self._revocations.setdefault((device_id, number), [])
        if revocation not in revocations:
            revocations.append(revocation)
        self._mark_revoked(device_id, number)

    def _mark_revoked(self, device_id: str, number: int) -> None:
        """Writes into the key from when on it is revoked now, whichever of the two came first."""
        key = self._keys.get(f"{device_id}.{number}")
        revocations = self._revocations.get((device_id, number))
        if key is not None and revocations:
            in_force = _revoked_from(revocations, NEVER_MS)
            self._keys[key.keyid] = msgspec.structs.replace(key, revoked_from=in_force)

    def key(self, keyid: str) -> DeviceKey | None:
        """The key that a signature names, whether usable or not."""
        return self._keys.get(keyid)

    def usable(self, key: DeviceKey, now_ms: int) -> bool:
        """Whether a request that comes in at `now_ms` may be signed with the key."""
        in_force = key.valid_from <= now_ms and (key.valid_to is None or now_ms < key.valid_to)
        return in_force and (key.revoked_from is None or now_ms < key.revoked_from)

    def device(self, device_id: str) -> Device | None:
        """The device as last enrolled."""
        return self._devices.get(device_id)

    def device_by_number(self, number: int) -> Device | None:
        """The device that the log's rows call by this number."""
        device_id = self._id_by_number.get(number)
        return None if device_id is None else self._devices[device_id]

    def devices(self) -> list[Device]:
        """Every device, by number."""
        return sorted(self._devices.values(), key=lambda device: device.number)

    def keys_of(self, device_id: str) -> list[DeviceKey]:
        """A device's keys, by number."""
        keys = [self._keys[keyid] for keyid in self._keyids.get(device_id, [])]
        return sorted(keys, key=lambda key: key.key)

    def holder_of(self, public: bytes) -> str | None:
        """The device that has or had this public key: a second one with it could sign in the first one's name."""
        return self._holders.get(public)

    def code_revoked(self, code: PersonCode, at: int) -> bool:
        """Whether, at `at` (ms), the code itself was revoked, or all that its subject held when it was issued.

        A scan made before the revocation was recorded is good, however late it arrives: it was the owner's.
        """
        if at >= self._revoked_codes.get(code.code, NEVER_MS):
            return True
        return any(
            at >= revocation.recorded and code.issued < revocation.issued_before
            for revocation in self._revoked_subjects.get(code.subject, ())
        )

    def may_be_revoked(self, code: bytes, subject: bytes) -> bool:
        """Whether a revocation was ever recorded of this code (its nonce) or this subject: then `code_revoked` says."""
        return code in self._revoked_codes or subject in self._revoked_subjects

    @property
    def any_code_revoked(self) -> bool:
        """Whether a revocation of codes was ever recorded."""
        return bool(self._revoked_codes or self._revoked_subjects)

    def revocations_of(self, device_id: str, number: int) -> tuple[Revocation, ...]:
        """Every revocation of a key and every lifting, in the order in which they were recorded."""
        return tuple(self._revocations.get((device_id, number), ()))

    def quarantined(self, device_number: int, key: int, received: int, as_of: int) -> bool:
        """Whether what the log received at `received` (ms) under this key is not to be trusted, as known at `as_of`."""
        device_id = self._id_by_number.get(device_number)
        if device_id is None:
            return False
        revoked_from = _revoked_from(self._revocations.get((device_id, key), ()), as_of)
        return revoked_from is not None and revoked_from <= received

    def revocations_as_of(self, as_of: int) -> dict[tuple[int, int], int]:
        """(device number, key) → from when (ms) it is revoked, as recorded by `as_of` and not lifted by then."""
        in_force: dict[tuple[int, int], int] = {}
        for (device_id, key), revocations in self._revocations.items():
            revoked_from = _revoked_from(revocations, as_of)
            if revoked_from is not None:
                in_force.update(((number, key), revoked_from) for number in self._numbers.get(device_id, ()))
        return in_force


def _revoked_from(revocations: Iterable[Revocation], as_of: int) -> int | None:
    """From when (ms) a key is revoked, from what was recorded by `as_of`, in the order of the control stream."""
    in_force: int | None = None
    for revocation in revocations:
        if revocation.recorded > as_of:
            break
        if revocation.revoked_from is None or in_force is None:
            in_force = revocation.revoked_from
        else:
            in_force = min(in_force, revocation.revoked_from)
    return in_force
