"""A whole trace service over real servers: control stream, edge, sink, projector and the HTTP application."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from litestar import Litestar
from litestar.testing import TestClient

from events import codec
from events.access import Role, Token
from events.control import ControlEvent, PlaceRegistered, TokenIssued
from events.devices import Device
from events.places import Place
from events.scans import Entry, How, Kind, Scan, ScanBatch
from ingest.decode import decode_body
from ingest.evidence import seal_evidence
from ingest.judge import judge
from ingest.limits import EdgeLimits
from ingest.sink import Sink, SinkLimits
from ingest.verify import Request, verify_request
from keys import enrolment, http_signatures
from keys.codes import CodeOpener, issue_person_code
from keys.secrets import ServerSecrets, new_secrets
from projections.projector import Projector, ProjectorLimits
from storage.accounts import DeviceAccounts
from storage.audit_stream import AUDIT_STREAM, AuditStream
from storage.clickhouse import Store
from storage.clusters import ClusterFeed
from storage.control import ControlFollower, ControlLog
from storage.health import reader_checks, store_checks, stream_checks
from storage.jobs import JobBoard
from storage.partitions import ONLY
from storage.person_keys import PersonKeys
from storage.rebuilds import Rebuilds
from storage.retention_runs import RetentionRuns
from storage.reveals import RevealBook
from storage.stream import ScanStream
from storage.watermarks import Watermarks
from tracing.access import new_token
from tracing.answer import Tracer
from tracing.directory.names import Directory
from tracing.directory.reveals import Reveals
from tracing.directory.rules import RevealRules
from tracing.metrics import Metrics
from tracing.parts import Parts
from tracing.registry import Registry
from tracing.service import trace_service

HOUR: Final = 3_600_000
PURPOSE: Final = "Điều tra ca F0 mới"
FAR_AWAY: Final = 4_000_000_000_000
AUDIT_ASIDE: Final = f"{AUDIT_STREAM}-aside"
AUDITED_MAX: Final = 1_000
"""More than any test here leaves in the audit log."""
AN: Final = bytes(range(16))
BINH: Final = bytes(range(16, 32))


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class Desk:
    """The service with a small registry: a mall with a café in it and one device at the mall's door."""

    def __init__(self, client: "redis.Redis", store: Store) -> None:
        self.redis = client
        self.store = store
        self.secrets: ServerSecrets = new_secrets(os.urandom, now_ms())
        self.control = ControlLog(client)
        self.registry = Registry()
        self.follower = ControlFollower(client, self.registry.apply)
        self.watermarks = Watermarks(client)
        self.door = Device(id="door", number=1, place="mall", may_citizen_number=True)
        self.door_key = Ed25519PrivateKey.generate()
        self.record(
            PlaceRegistered(Place(id="mall", number=1, name="Trung tâm Đống Đa", province="1")),
            PlaceRegistered(Place(id="cafe", number=2, name="Cà phê", parent="mall")),
            *enrolment.enrolled(self.door, self.door_key.public_key().public_bytes_raw(), now_ms() - HOUR),
        )
        self.tokens: dict[Role, str] = {role: self.issue(role) for role in Role}
        self._files = tempfile.TemporaryDirectory(prefix="desk")
        self.person_keys = PersonKeys(Path(self._files.name) / "keys.sqlite")
        self.parts = Parts(
            store=store,
            registry=self.registry,
            tracer=Tracer(
                store=store,
                registry=self.registry,
                caught_up=self.follower.catch_up,
                watermarks=self.watermarks,
                clock=now_ms,
                random=os.urandom,
            ),
            control=self.control,
            audit_stream=AuditStream(client),
            directory=Directory(store, self.person_keys, self.secrets, clock=now_ms, random=os.urandom),
            reveals=Reveals(RevealBook(client), RevealRules(), clock=now_ms, random=os.urandom),
            job_board=JobBoard(client),
            caught_up=self.follower.catch_up,
            watermarks=self.watermarks,
            accounts=DeviceAccounts(client),
            secrets=self.secrets,
            metrics=Metrics(),
            clock=now_ms,
            random=os.urandom,
            cluster_feed=ClusterFeed(client),
            retention_runs=RetentionRuns(client),
            checks=lambda: [
                *stream_checks([client], vital=False),
                *reader_checks(self.watermarks, now_ms()),
                *store_checks(store),
            ],
        )
        self.app: Litestar = trace_service(self.parts)
        self._http: TestClient[Litestar] = TestClient(self.app)

    def record(self, *events: ControlEvent) -> None:
        """Let control events happen."""
        self.control.append_all(list(events))

    def issue(self, role: Role, *, expires: int = FAR_AWAY) -> str:
        """A token's text, made known through the control stream."""
        text, token = new_token(f"Somebody of {role}", role, expires, os.urandom)
        self.record(TokenIssued(token))
        return text

    def token(self, role: Role) -> Token:
        """What the registry keeps of a role's token."""
        return next(token for token in self.registry.tokens_by_sha256.values() if token.role is role)

    def code(self, subject: bytes) -> str:
        """A personal code, fresh."""
        now = now_ms()
        nonce = os.urandom(12)
        return issue_person_code(
            self.secrets, subject, vehicle=False, issued=now - 5 * HOUR, expires=now + HOUR, nonce=nonce
        )

    def send(self, *scans: Scan) -> None:
        """A batch of the door's device takes the edge's way into the stream."""
        now = now_ms()
        body = codec.to_json(ScanBatch(list(scans)))
        headers = http_signatures.sign_request(
            self.door_key,
            "door.1",
            method="POST",
            path="/v1/scans",
            content_type="application/json",
            body=body,
            created=now // 1000,
        )
        request = Request("POST", "/v1/scans", "", "", {name.lower(): text for name, text in headers.items()}, body)
        keyring, limits = self.registry.keyring, EdgeLimits()
        verified = verify_request(request, keyring, now, limits)
        judged = judge(
            decode_body(body, "application/json", "", limits),
            verified.device,
            verified.key,
            places=self.registry.places(),
            keyring=keyring,
            opener=CodeOpener(self.secrets),
            pseudonym_key=self.secrets.pseudonym_key,
            now_ms=now,
            limits=limits,
        )
        assert not judged.refused
        evidence = seal_evidence(self.secrets, verified.evidence, self.door.number, os.urandom(12))
        entry = Entry(self.door.number, 1, judged.seq_min, judged.seq_max, judged.rows, judged.refused, evidence)
        self.redis.xadd(ONLY.scans, {"e": codec.to_msgpack(entry)})

    def settle(self) -> None:
        """Wait until all that was sent can be read."""
        assert self.watermarks.wait("read-models", now_ms(), 20.0) is not None

    def ask(
        self,
        method: str,
        path: str,
        *,
        role: Role | None = Role.ANALYST,
        purpose: str | None = None,
        json: object = None,
        **more: Any,
    ) -> httpx.Response:
        """One request. The purpose travels in the header, percent-encoded."""
        headers: dict[str, str] = {}
        if role is not None:
            headers["Authorization"] = f"Bearer {self.tokens[role]}"
        if purpose is not None:
            headers["Truyvet-Purpose"] = "".join(f"%{byte:02X}" for byte in purpose.encode())
        return self._http.request(method, path, headers=headers | more.pop("headers", {}), json=json, **more)

    def audited(self) -> list[tuple[str, str, str]]:
        """Action, object and purpose of every audit event, oldest first."""
        items = self.parts.audit.page(AUDITED_MAX, None).items
        return [(item.action, item.object, item.purpose) for item in reversed(items)]

    def spoil_audit(self) -> None:
        """From now on nothing can be recorded."""
        if self.redis.exists(AUDIT_STREAM):
            self.redis.rename(AUDIT_STREAM, AUDIT_ASIDE)
        self.redis.set(AUDIT_STREAM, "no stream")

    def mend_audit(self) -> None:
        """It can again."""
        self.redis.rename(AUDIT_ASIDE, AUDIT_STREAM)

    @contextmanager
    def running(self) -> Iterator["Desk"]:
        """Everything that a deployment runs beside the service, in threads of this process."""
        stop = threading.Event()
        sink = Sink(
            stream=ScanStream(self.redis, owner="desk"),
            store=self.store,
            watermarks=self.watermarks,
            limits=SinkLimits(idle_ms=20),
        )
        projector = Projector(
            self.store, self.watermarks, Rebuilds(self.redis), ProjectorLimits(wait_seconds=0.05, retry_seconds=0.05)
        )
        threads = [threading.Thread(target=each.run, args=(stop,)) for each in (sink, projector)]
        self.follower.start()
        for thread in threads:
            thread.start()
        try:
            with self._http:
                yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            self.follower.stop()


def visit(desk: Desk, seq: int, at: int, subject: bytes, kind: Kind = Kind.IN, place: str | None = None) -> Scan:
    """A scan of somebody's personal code."""
    return Scan(seq, at, kind, code=desk.code(subject), place=place)


__all__ = ["AN", "BINH", "FAR_AWAY", "HOUR", "PURPOSE", "Desk", "How", "now_ms", "visit"]
