"""Who takes part: honest devices, devices that may no longer sign, codes that are good and codes that are not."""

import hashlib
import itertools
import random
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.clock import DAY_MS, now_ms
from app.key_file import load
from app.settings import Settings
from app.stream_client import stream_client
from events.control import CodeRevoked, ControlEvent, DeviceEnrolled, DeviceKeyAdded, PlaceRegistered
from events.devices import Device, DeviceKey
from events.places import Place
from keys.codes import issue_person_code, issue_place_code
from keys.secrets import Generation, ServerSecrets, new_secrets
from storage.control import ControlLog

SECOND_MS: Final = 1_000
HOUR_MS: Final = 3_600_000
PEOPLE: Final = 64
CODE_LIFE_MS: Final = 2 * DAY_MS
OTHER_KID: Final = 60_000
"""A generation that the key file does not have."""


class Actor(msgspec.Struct, frozen=True):
    """A device with the key that it signs with, and the number of its place (0: a phone)."""

    device: Device
    key: Ed25519PrivateKey
    place: int
    number: int = 1

    @property
    def keyid(self) -> str:
        """The name of its key."""
        return f"{self.device.id}.{self.number}"


class Codes(msgspec.Struct, frozen=True):
    """Texts of codes by what is to become of them. `good` holds pairs of pseudonym and text."""

    good: list[tuple[bytes, str]]
    expired: str
    later: str
    revoked: str
    same_kid: str
    other_kid: str
    wall: str
    wall_expired: str
    wall_forged: str


class Cast:
    """Everybody, registered with a running service. `seed` makes the same people, keys and nonces again."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._seed: Final = seed
        self._random: Final = random.Random(f"cast {seed}")
        self._seqs: Final[dict[tuple[str, int], itertools.count[int]]] = {}
        self._revoked_nonce: Final = self._random.randbytes(12)
        self.now_ms: Final = now_ms()
        client = stream_client(settings)
        try:
            control = ControlLog(client)
            hall, gate, booth = (
                Place(id=f"hall-{seed}", number=control.next_number("place"), name="Hall"),
                Place(id=f"gate-{seed}", number=control.next_number("place"), name="Gate"),
                Place(id=f"booth-{seed}", number=control.next_number("place"), name="Booth", parent=f"gate-{seed}"),
            )
            self.places: Final = (hall, gate, booth)
            self.codes: Final = self._codes(load(settings.keys_path), hall)
            self.holder: Final = self._random.randbytes(16)

            def actor(name: str, place: Place | None, number: int = 1) -> Actor:
                subject = None if place else self.holder.hex()
                allotted = control.next_number("device")
                device = Device(
                    id=f"{name}-{seed}", number=allotted, place=place.id if place else None, subject=subject
                )
                return Actor(device, self._key(device.id, number), place.number if place else 0, number)

            self.hall: Final = actor("hall", hall)
            self.gate: Final = actor("gate", gate)
            self.phone: Final = actor("phone", None)
            self.revoked: Final = actor("revoked", hall)
            self.retired: Final = actor("retired", hall)
            self.early: Final = actor("early", hall)
            self.stranger: Final = Actor(
                Device(id=f"stranger-{seed}", number=0, place=hall.id), self._key("stranger", 1), hall.number
            )
            control.append_all(self._events())
        finally:
            client.close()

    @property
    def honest(self) -> tuple[Actor, Actor, Actor]:
        """The devices whose requests are good."""
        return self.hall, self.gate, self.phone

    def seq(self, actor: Actor, first: int) -> int:
        """The device's next seq of those from `first` on, never given before."""
        return next(self._seqs.setdefault((actor.device.id, first), itertools.count(first)))

    def _events(self) -> list[ControlEvent]:
        now = self.now_ms
        spans: dict[str, tuple[int, int | None, int | None]] = {
            self.revoked.device.id: (0, None, now - HOUR_MS),
            self.retired.device.id: (0, now - HOUR_MS, None),
            self.early.device.id: (now + DAY_MS, None, None),
        }
        events: list[ControlEvent] = [PlaceRegistered(place) for place in self.places]
        events.append(CodeRevoked(self._revoked_nonce.hex()))
        for actor in (self.revoked, self.retired, self.early, *self.honest):
            valid_from, valid_to, revoked_from = spans.get(actor.device.id, (0, None, None))
            key = DeviceKey(
                device=actor.device.id,
                key=1,
                public=actor.key.public_key().public_bytes_raw(),
                valid_from=valid_from,
                valid_to=valid_to,
                revoked_from=revoked_from,
            )
            events += [DeviceEnrolled(actor.device), DeviceKeyAdded(key)]
        return events

    def _key(self, name: str, number: int) -> Ed25519PrivateKey:
        seed = hashlib.sha256(f"{self._seed} {name} {number}".encode()).digest()
        return Ed25519PrivateKey.from_private_bytes(seed)

    def _codes(self, secrets: ServerSecrets, wall: Place) -> Codes:
        now = self.now_ms
        noise = self._random.randbytes
        stranger = new_secrets(noise, now)

        def person(secrets: ServerSecrets, issued: int, expires: int, nonce: bytes | None = None) -> tuple[bytes, str]:
            subject = noise(16)
            text = issue_person_code(
                secrets, subject, vehicle=False, issued=issued, expires=expires, nonce=nonce or noise(12)
            )
            return subject, text

        life = now - CODE_LIFE_MS, now + CODE_LIFE_MS
        same_kid = _with_kid(stranger, secrets.current.kid)
        return Codes(
            good=[person(secrets, *life) for _ in range(PEOPLE)],
            expired=person(secrets, now - CODE_LIFE_MS, now - HOUR_MS)[1],
            later=person(secrets, now + HOUR_MS, now + CODE_LIFE_MS)[1],
            revoked=person(secrets, *life, self._revoked_nonce)[1],
            same_kid=person(same_kid, *life)[1],
            other_kid=person(_with_kid(stranger, OTHER_KID), *life)[1],
            wall=issue_place_code(secrets, wall.id, issued=life[0], expires=None),
            wall_expired=issue_place_code(secrets, wall.id, issued=life[0], expires=now - HOUR_MS),
            wall_forged=issue_place_code(same_kid, wall.id, issued=life[0], expires=None),
        )


def _with_kid(secrets: ServerSecrets, kid: int) -> ServerSecrets:
    """The same keys under another generation's number."""
    generation: Generation = msgspec.structs.replace(secrets.current, kid=kid)
    return msgspec.structs.replace(secrets, generations=(generation,))
