"""The proxy's configuration under a real nginx."""

import http.client
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.ports import free_port
from events import codec
from events.problems import CATALOGUE, PROBLEM_TYPE_BASE, Problem
from tests.deploy.door import NGINX, Door

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed here (Debian: apt-get install nginx)")


class Echo(BaseHTTPRequestHandler):
    """Answers with the request as it arrived."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        answer = f"{self.command} {self.path}\n{self.headers}{len(body)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def upstream() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_requests_pass_unchanged(tmp_path: Path, upstream: int) -> None:
    door = Door(tmp_path / "door", ingest_port=upstream, trace_port=upstream)
    assert door.check().returncode == 0, door.check().stderr
    door.start()
    try:
        path = "/v1/subjects/%C3%A1b/stays?from=1&to=2%20"
        status, answer = ask(door.port, "GET", path, Authorization="Bearer x", Truyvet_Purpose="A%20purpose")
        assert status == 200
        assert answer.startswith(f"GET {path}\n")
        assert "Authorization: Bearer x" in answer
        assert "Truyvet-Purpose: A%20purpose" in answer
        signed = {"Content_Digest": "sha-256=:x:", "Signature_Input": "sig=()", "Signature": "sig=:x:"}
        status, answer = ask(door.port, "POST", "/v1/scans", bytes(1_900_000), Content_Encoding="gzip", **signed)
        assert status == 200
        assert answer.endswith("1900000")
        for name, value in signed.items():
            assert f"{name.replace('_', '-')}: {value}" in answer
        assert "Content-Encoding: gzip" in answer
        assert ask(door.port, "POST", "/v1/scans", bytes(4_300_000))[0] == 413
        assert ask(door.port, "GET", "/metrics")[0] == 404
        assert ask(door.port, "GET", "/readyz")[0] == 404
        assert ask(door.port, "GET", "/healthz") == (200, '{"status":"alive"}')
    finally:
        door.stop()
    log = door.log.read_text(encoding="utf-8")
    assert '"kind":"subjects"' in log
    assert "%C3" not in log
    assert "á" not in log
    assert "127.0.0.1" not in log


@pytest.mark.parametrize(("path", "name"), [("/v1/scans", "stream-unavailable"), ("/v1/traces", "store-unavailable")])
def test_a_process_that_is_away_is_a_problem_of_the_catalogue(tmp_path: Path, path: str, name: str) -> None:
    door = Door(tmp_path / "door", ingest_port=free_port(), trace_port=free_port())
    door.start()
    try:
        status, answer = ask(door.port, "POST", path, b"{}")
    finally:
        door.stop()
    problem = codec.from_json(answer, Problem)
    kind = CATALOGUE[name]
    assert status == problem.status == kind.status
    assert problem.type == PROBLEM_TYPE_BASE + name
    assert problem.title == kind.title
    assert problem.retry_after_seconds == kind.retry_after_seconds
    assert path not in (tmp_path / "door" / "error.log").read_text(encoding="utf-8")


def test_tls(tmp_path: Path, upstream: int) -> None:
    door = Door(tmp_path / "door", ingest_port=upstream, trace_port=upstream, listen="tls.conf")
    certificate, key = tmp_path / "door" / "tls.crt", tmp_path / "door" / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ed25519", "-noenc", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    assert door.check().returncode == 0, door.check().stderr
    door.start()
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        with (
            socket.create_connection(("127.0.0.1", door.tls_port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET /v1/places HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = secure.makefile("rb").read().decode()
        assert "Strict-Transport-Security" in answer
        assert "GET /v1/places" in answer
        assert ask(door.port, "GET", "/v1/places")[0] == 404
        assert ask(door.port, "GET", "/healthz")[0] == 200
    finally:
        door.stop()
