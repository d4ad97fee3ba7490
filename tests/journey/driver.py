"""Drives a whole running system from outside, as scanners and analysts do: HTTP, and the operator's control stream."""

import http.client
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.key_file import load
from app.ports import on_free_ports
from app.settings import Settings
from app.stream_client import stream_client, stream_clients
from app.supervisor import Embedded
from events import codec
from events.control import ControlEvent, PlaceRegistered
from events.devices import Device
from events.places import Place
from events.scans import Receipt, Scan, ScanBatch
from keys.codes import issue_person_code
from keys.enrolment import enrolled
from keys.http_signatures import sign_request
from keys.secrets import ServerSecrets
from storage.control import ControlLog
from storage.watermarks import Watermarks

DAY_MS: Final = 86_400_000
REQUEST_SECONDS_MAX: Final = 60
RETRY_SECONDS: Final = 0.1
RETRIES_MAX: Final = 400

T = TypeVar("T")


class Scanner:
    """A device with its key: signs batches."""

    def __init__(self, device: Device) -> None:
        self.device: Final = device
        self.key: Final = Ed25519PrivateKey.generate()

    @property
    def public(self) -> bytes:
        """The raw public key."""
        return self.key.public_key().public_bytes_raw()

    def request(self, scans: list[Scan]) -> tuple[dict[str, str], bytes]:
        """Headers and body of a signed MessagePack batch."""
        body = codec.to_msgpack(ScanBatch(scans))
        headers = sign_request(
            self.key,
            f"{self.device.id}.1",
            method="POST",
            path="/v1/scans",
            content_type="application/msgpack",
            body=body,
            created=int(time.time()),
        )
        return headers, body


class Client:
    """Kept connections of one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings: Final = settings
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def post(self, headers: dict[str, str], body: bytes) -> Receipt:
        """Send until the server has answered for the batch, as a scanner does."""
        for _ in range(RETRIES_MAX):
            try:
                status, answer = self.ask(self._settings.ingest, "POST", "/v1/scans", body, headers)
            except (OSError, http.client.HTTPException):
                status, answer = 0, b""
            if status in {200, 202}:
                return codec.from_json(answer, Receipt)
            if status not in {0, 401, 503}:
                raise AssertionError(f"{status}: {answer.decode()}")
            time.sleep(RETRY_SECONDS)
        raise AssertionError(f"the edge did not take the batch: {status} {answer.decode()}")

    def ask(self, base: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """One HTTP exchange over a kept connection."""
        connection = self._connections.get(base)
        if connection is None:
            parts = urlsplit(base)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=REQUEST_SECONDS_MAX)
            self._connections[base] = connection
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            del self._connections[base]
            raise

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


class System:
    """An embedded system on free ports in a directory of its own; a context manager."""

    def __init__(self, directory: Path, **settings: str) -> None:
        environment = {"TRUYVET_DATA_DIR": str(directory), "TRUYVET_LOG_LEVEL": "warning"}
        self.settings: Final = Settings.from_environment(environment | on_free_ports() | settings)
        self.embedded: Final = Embedded(self.settings)
        self._redis: redis.Redis | None = None
        self.client: Final = Client(self.settings)

    def __enter__(self) -> Self:
        self.embedded.start()
        self._redis = stream_client(self.settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self._redis is not None:
            self._redis.close()
        self.embedded.stop()

    @property
    def redis(self) -> "redis.Redis":
        """A client of its stream."""
        assert self._redis is not None
        return self._redis

    @property
    def control(self) -> ControlLog:
        """The operator's control stream."""
        return ControlLog(self.redis, replicas=self.settings.stream_replicas)

    @property
    def secrets(self) -> ServerSecrets:
        """The server's own secrets, to issue codes with."""
        return load(self.settings.keys_path)

    def register(self, events: list[ControlEvent]) -> None:
        """Append to the control stream."""
        self.control.append_all(events)

    def scanner(self, place: str, **device: Any) -> Scanner:
        """A registered place with one enrolled device of the same id."""
        number = self.control.next_number("place")
        scanner = Scanner(Device(id=place, number=self.control.next_number("device"), place=place, **device))
        self.register(
            [
                PlaceRegistered(Place(id=place, number=number, name=place, dwell_seconds=12 * 3600)),
                *enrolled(scanner.device, scanner.public, 0),
            ]
        )
        return scanner

    def code(self, subject: bytes, issued: int, expires: int) -> str:
        """A personal code of the subject."""
        return issue_person_code(
            self.secrets, subject, vehicle=False, issued=issued, expires=expires, nonce=os.urandom(12)
        )

    def trace(self, question: dict[str, Any]) -> Any:
        """The answer to a question, as JSON."""
        body = codec.to_json(question | {"purpose": "testing the journey"})
        status, answer = self.api("POST", "/v1/traces", body)
        assert status == 200, answer.decode()
        return msgspec.json.decode(answer)

    def api(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """One request of the operator."""
        known = {"Authorization": f"Bearer {self.embedded.token}", "Content-Type": "application/json"}
        return self.client.ask(self.settings.api, method, path, body, known | headers)

    def await_log(self) -> None:
        """Return when everything posted so far is in the read models."""
        now = int(time.time() * 1000)
        watermarks = Watermarks(self.redis, stream_clients(self.settings).partitions)
        assert watermarks.wait("read-models", now, REQUEST_SECONDS_MAX) is not None
