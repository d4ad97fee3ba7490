"""A small province for the edge's tests: places, devices with their keys, people with their codes."""

import base64
import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events import codec
from events.control import CodeRevoked, ControlEvent, DeviceEnrolled, DeviceKeyAdded, PlaceRegistered, Recorded
from events.devices import Device, DeviceKey
from events.places import Place
from events.scans import Kind, Scan, ScanBatch
from ingest.columns import ScanColumns
from ingest.judge import Judged, judge
from ingest.limits import EdgeLimits
from ingest.places import PlaceView
from keys import http_signatures
from keys.codes import CodeOpener, issue_person_code, issue_place_code
from keys.keyring import Keyring
from keys.secrets import ServerSecrets, new_secrets

NOW: Final = 1_635_000_000_000
SECOND: Final = 1_000
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR
PATH: Final = "/v1/scans"
JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
LIMITS: Final = EdgeLimits()
CITIZEN: Final = "001301000001"
AN: Final = bytes(range(16))
"""A person's pseudonym."""


class Noise:
    """Bytes that differ at each call and are the same in each run."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._calls = 0

    def __call__(self, length: int) -> bytes:
        self._calls += 1
        return hashlib.shake_256(f"{self._seed} {self._calls}".encode()).digest(length)


NOISE: Final = Noise("codes")
SECRETS: Final = new_secrets(Noise("secrets"), NOW - DAY)
STRANGER: Final = new_secrets(Noise("stranger"), NOW - DAY)
"""Another service's secrets, whose generation has the same number."""

PLACES: Final = (
    Place(id="mall", number=1, name="Mall"),
    Place(id="floor", number=2, name="Floor", parent="mall"),
    Place(id="stall", number=3, name="Stall", parent="floor"),
    Place(id="post", number=4, name="Checkpoint"),
)
DOOR: Final = Device(id="door", number=7, place="mall")
POST: Final = Device(id="post-1", number=8, place="post", may_citizen_number=True, may_subject=True)
PHONE: Final = Device(id="phone", number=9, subject=AN.hex())
LOST: Final = Device(id="lost", number=10, place="burnt-down")
NOWHERE: Final = Device(id="nowhere", number=11)
DEVICES: Final = (DOOR, POST, PHONE, LOST, NOWHERE)


def private_key(device: str, number: int = 1) -> Ed25519PrivateKey:
    """A device's key, the same in each run."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{device}.{number}".encode()).digest())


def device_key(device: str, number: int = 1, *, valid_from: int = 0, valid_to: int | None = None) -> DeviceKey:
    """Its public half, as registered."""
    public = private_key(device, number).public_key().public_bytes_raw()
    return DeviceKey(device=device, key=number, public=public, valid_from=valid_from, valid_to=valid_to)


class Scene:
    """The registries as one edge process holds them."""

    def __init__(self) -> None:
        self.keyring = Keyring()
        self.places = PlaceView()
        for place in PLACES:
            self.record(PlaceRegistered(place))
        for device in DEVICES:
            self.record(DeviceEnrolled(device))
            self.record(DeviceKeyAdded(device_key(device.id)))

    def record(self, event: ControlEvent) -> None:
        """Let a control event happen."""
        self.keyring.apply(Recorded(NOW - DAY, event))
        self.places.apply(Recorded(NOW - DAY, event))

    def revoke(self, nonce: bytes) -> None:
        """Let the code of that nonce be reported lost."""
        self.record(CodeRevoked(nonce.hex()))

    def judge(
        self,
        scans: list[Scan] | ScanColumns,
        device: Device = DOOR,
        now_ms: int = NOW,
        secrets: ServerSecrets = SECRETS,
    ) -> Judged:
        """Judge a batch of one device."""
        return judge(
            scans if isinstance(scans, ScanColumns) else ScanBatch(scans),
            device,
            device_key(device.id),
            places=self.places,
            keyring=self.keyring,
            opener=CodeOpener(secrets),
            pseudonym_key=secrets.pseudonym_key,
            now_ms=now_ms,
            limits=LIMITS,
        )


def person_code(
    subject: bytes = AN,
    *,
    issued: int = NOW - HOUR,
    expires: int = NOW + HOUR,
    nonce: bytes | None = None,
    secrets: ServerSecrets = SECRETS,
) -> str:
    """A personal code's text."""
    nonce = NOISE(12) if nonce is None else nonce
    return issue_person_code(secrets, subject, vehicle=False, issued=issued, expires=expires, nonce=nonce)


def place_code(
    place: str = "floor",
    *,
    issued: int = NOW - HOUR,
    expires: int | None = None,
    secrets: ServerSecrets = SECRETS,
) -> str:
    """The text of the code on a place's wall."""
    return issue_place_code(secrets, place, issued=issued, expires=expires)


def good(seq: int = 1, *, at: int = NOW, kind: Kind = Kind.IN, place: str | None = None) -> Scan:
    """A scan that the mall's door may send."""
    return Scan(seq, at, kind, code=person_code(), place=place)


def json_body(*scans: Scan) -> bytes:
    """A batch as a scanner sends it."""
    return codec.to_json(ScanBatch(list(scans)))


def signed(
    body: bytes,
    *,
    device: str = "door",
    key: int = 1,
    content_type: str = JSON,
    encoding: str | None = None,
    created: int = NOW // 1000,
    method: str = "POST",
) -> dict[str, str]:
    """The lower-case headers of a signed request."""
    headers = http_signatures.sign_request(
        private_key(device, key),
        f"{device}.{key}",
        method=method,
        path=PATH,
        content_type=content_type,
        body=body,
        created=created,
        content_encoding=encoding,
    )
    return {name.lower(): value for name, value in headers.items()}


def signed_over(
    components: tuple[str, ...],
    body: bytes,
    *,
    query: str = "",
    authority: str = "",
    parameters: str = "",
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a request of the mall's door whose signature covers just what is said."""
    base_headers = {"content-type": JSON, "content-digest": http_signatures.content_digest(body), **(headers or {})}
    names = " ".join(f'"{name}"' for name in components)
    signature_input = f'sig=({names});created={NOW // 1000};keyid="door.1"{parameters}'
    base = http_signatures.signature_base(
        http_signatures.parse_signature_input(signature_input),
        method="POST",
        path=PATH,
        query=query,
        authority=authority,
        headers=base_headers,
    )
    return {**base_headers, "signature-input": signature_input, "signature": _signature(private_key("door").sign(base))}


def _signature(signature: bytes) -> str:
    return f"sig=:{base64.b64encode(signature).decode()}:"
