"""A ClickHouse server for tests: the HTTP interface, as far as clients use it, in front of the embedded engine.

Lets the server mode's code run against real SQL, real files and a real process to kill where no ClickHouse server is
installed. Run as a process of its own, because one process may hold one engine path only:

    python -m tests.support.clickhouse_http --path DIR --port 0

prints its port on a line and serves until SIGTERM, or until its standard input closes, so that it never outlives the
test that started it. Every request has an engine handle of its own, so settings and the chosen database end with it.

Left out: sessions, compressed answers (none is ever required of a server), progress headers, external tables.
"""

import argparse
import base64
import binascii
import email.parser
import email.policy
import gzip
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast

import lz4.frame  # type: ignore[import-untyped]
from backports import zstd

BODY_BYTES_MAX: Final = 1 << 30
START_SECONDS_MAX: Final = 60
STOP_SECONDS_MAX: Final = 30

TRANSPORT_PARAMETERS: Final = frozenset({
    "query", "database", "user", "password", "session_id", "session_timeout", "session_check", "query_id", "quota_key",
    "compress", "decompress", "wait_end_of_query", "buffer_size", "client_protocol_version", "role", "default_format",
})  # fmt: skip
"""Query-string names that speak to the HTTP interface; every other one is a setting of the engine."""

INSERT_WITH_DATA: Final = re.compile(rb"\s*(INSERT\s+INTO\s.*?)\s+FORMAT\s+(\w+)[ \t]*(?:\r?\n|$)", re.I | re.S)
TRAILING_FORMAT: Final = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.I)
INSERT_HEAD_BYTES_MAX: Final = 64 * 1024
IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")

AUTHENTICATION_FAILED: Final = 516
HTTP_STATUS: Final[Mapping[int, int]] = {
    **dict.fromkeys((27, 36, 43, 53, 62, 69, 70, 72, 115), HTTPStatus.BAD_REQUEST),
    **dict.fromkeys((46, 47, 50, 56, 60, 73, 81), HTTPStatus.NOT_FOUND),
    AUTHENTICATION_FAILED: HTTPStatus.FORBIDDEN,
}
"""Exception codes to statuses, as ClickHouse's own HTTP handler maps them; anything else is a 500."""


class EngineError(Exception):
    """The engine refused: its numeric exception code and its text."""

    def __init__(self, message: str) -> None:
        text = message[message.find("Code: ") :] if "Code: " in message else message
        found = re.match(r"Code: (\d+)", text)
        super().__init__(text)
        self.code: Final = int(found[1]) if found else 0


class Call(NamedTuple):
    """One request in the engine's terms. `sql` holds an insert's data too, after the statement."""

    sql: bytes
    database: str
    parameters: dict[str, str]
    settings: dict[str, str]


class Result(NamedTuple):
    """What the engine answered; `format` is empty where the statement has no result set."""

    body: bytes
    format: str
    summary: dict[str, str]


def call_of(url: str, content_type: str, body: bytes) -> Call:
    """Reads a request: statement, database, `param_…` values and settings, wherever the client put them."""
    values = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query, keep_blank_values=True))
    if content_type.startswith("multipart/form-data"):
        values |= _form_values(content_type, body)
        body = b""
    query = values.get("query", "").encode()
    return Call(
        sql=query + b"\n" + body if query and body else query or body,
        database=values.get("database", ""),
        parameters={name[6:]: value for name, value in values.items() if name.startswith("param_")},
        settings={
            name: value
            for name, value in values.items()
            if name not in TRANSPORT_PARAMETERS and not name.startswith("param_")
        },
    )


def _form_values(content_type: str, body: bytes) -> dict[str, str]:
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    values = {}
    for part in message.iter_parts():
        name, payload = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(payload, bytes)
        values[name] = payload.decode()
    return values


def quoted(text: str) -> str:
    """A string literal; the engine turns it into a number where a setting is one."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Engine:
    """The embedded engine at a path, with a handle for each call."""

    def __init__(self, path: Path) -> None:
        import chdb

        self._connect: Final = cast("Callable[[str], Any]", chdb.connect)
        self._path: Final = str(path)
        self._keeps_engine_open: Final = self._connect(self._path)

    def run(self, call: Call) -> Result:
        """Raises `EngineError` with the engine's own code and text."""
        handle = self._connect(self._path)
        try:
            if call.database:
                name = call.database.replace("\\", "\\\\").replace("`", "\\`")
                handle.query(f"USE `{name}`")
            for setting, value in call.settings.items():
                if not IDENTIFIER.fullmatch(setting):
                    raise EngineError(f"Code: 115. DB::Exception: Unknown setting {setting!r}. (UNKNOWN_SETTING)")
                handle.query(f"SET {setting} = {quoted(value)}")
            insert = INSERT_WITH_DATA.match(call.sql[:INSERT_HEAD_BYTES_MAX])
            if insert:
                return _insert(handle, insert[1].decode(), insert[2].decode(), call.sql[insert.end() :])
            return _query(handle, call.sql, call.parameters)
        except RuntimeError as error:
            raise EngineError(str(error)) from error
        finally:
            handle.close()

    def close(self) -> None:
        """Ends the engine; every acknowledged insert is in its files already."""
        self._keeps_engine_open.close()


def _insert(handle: Any, statement: str, format: str, data: bytes) -> Result:
    with handle.send_insert(statement, format) as insert:
        insert.append(data)
        done = insert.finish()
    summary = {"written_rows": str(done.rows_written), "written_bytes": str(done.bytes_written)}
    return Result(b"", "", summary | {"elapsed_ns": str(int(done.elapsed * 1e9))})


def _query(handle: Any, sql: bytes, parameters: dict[str, str]) -> Result:
    """Without a FORMAT of its own a statement is asked for names too: only one that has a result set prints them."""
    answer = handle.query(sql, "TabSeparatedWithNames", params=parameters)
    body = answer.bytes() or b""
    summary = {
        "read_rows": str(answer.rows_read()),
        "read_bytes": str(answer.bytes_read()),
        "elapsed_ns": str(int(answer.elapsed() * 1e9)),
    }
    own_format = TRAILING_FORMAT.search(sql)
    if own_format:
        return Result(body, own_format[1].decode(), summary)
    return Result(body.partition(b"\n")[2], "TabSeparated" if body else "", summary)


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:
        if urllib.parse.urlsplit(self.path).path in ("/ping", "/replicas_status"):
            self._send(HTTPStatus.OK, b"Ok.\n", {})
        else:
            self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Statements may hold what tests treat as personal data: nothing is logged."""

    def _answer(self) -> None:
        body = self._decoded(self._body())
        query_id = self._query_value("query_id") or secrets.token_hex(16)
        headers = {"X-ClickHouse-Query-Id": query_id, "X-ClickHouse-Timezone": "UTC"}
        user = self._user()
        if user is None:
            self._refuse(EngineError("Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"), {})
            return
        call = call_of(self.path, self.headers.get("Content-Type", ""), body)
        self.server.note(user, call)
        self.server.wait()
        try:
            result = self.server.engine.run(call)
        except EngineError as error:
            self._refuse(error, headers)
            return
        headers["X-ClickHouse-Summary"] = json.dumps(result.summary)
        if result.format:
            headers["X-ClickHouse-Format"] = result.format
        self._send(HTTPStatus.OK, result.body, headers)

    def _refuse(self, error: EngineError, headers: dict[str, str]) -> None:
        status = HTTP_STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        self._send(status, f"{error}\n".encode(), headers | {"X-ClickHouse-Exception-Code": str(error.code)})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _user(self) -> str | None:
        """The name of who asks; None where the password is not theirs."""
        user = self.headers.get("X-ClickHouse-User") or self._query_value("user")
        password = self.headers.get("X-ClickHouse-Key") or self._query_value("password")
        scheme, _, basic = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            try:
                user, _, password = base64.b64decode(basic, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
        name = user or "default"
        return name if self.server.users.get(name) == password else None

    def _query_value(self, name: str) -> str:
        values = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        return values.get(name, [""])[0]

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        length = int(self.headers.get("Content-Length", "0"))
        if length > BODY_BYTES_MAX:
            raise ConnectionAbortedError(f"a body of {length} bytes")
        return self.rfile.read(length)

    def _chunks(self) -> bytes:
        chunks = bytearray()
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            if len(chunks) + size > BODY_BYTES_MAX:
                raise ConnectionAbortedError(f"a body over {BODY_BYTES_MAX} bytes")
            chunks += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(chunks)

    def _decoded(self, body: bytes) -> bytes:
        match self.headers.get("Content-Encoding", "identity"):
            case "lz4":
                return b"".join(lz4_frames(body))
            case "zstd":
                return zstd.decompress(body)
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
            case _:
                return body


def lz4_frames(body: bytes) -> Iterator[bytes]:
    """What each of the frames holds: the client sends one for every block of an insert."""
    while body:
        frame = lz4.frame.LZ4FrameDecompressor()
        yield bytes(frame.decompress(body))
        body = frame.unused_data or b""


class Server(ThreadingHTTPServer):
    """Serves one engine on loopback to the users given, name to password."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, engine: Engine, port: int, users: Mapping[str, str], statements: Path | None, delay: Path | None
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.engine: Final = engine
        self.users: Final = users
        self._statements: Final = statements
        self._delay: Final = delay

    def wait(self) -> None:
        """Take as long as a test wants every statement to."""
        if self._delay is not None and self._delay.exists():
            time.sleep(float(self._delay.read_text()))

    def note(self, user: str, call: Call) -> None:
        """Keep a statement, without an insert's data, for a test that asks who said what."""
        if self._statements is not None:
            insert = INSERT_WITH_DATA.match(call.sql[:INSERT_HEAD_BYTES_MAX])
            statement = {"user": user, "sql": (insert[1] if insert else call.sql).decode(errors="replace")}
            with self._statements.open("a", encoding="utf-8") as file:
                file.write(json.dumps(statement) + "\n")


class ClickHouseHttp:
    """Such a server as a child process. A port, once chosen, is kept over restarts, as clients expect it to be."""

    def __init__(
        self,
        path: Path,
        *,
        user: str = "default",
        password: str = "",
        others: Mapping[str, str] | None = None,
        statements: Path | None = None,
    ) -> None:
        """`others`: further users' passwords. `statements`: a file that gets every statement as a JSON line."""
        self._delay: Final = path.with_name(f"{path.name}-delay")
        self.path: Final = path
        self.user: Final = user
        self.password: Final = password
        self._users: Final = {user: password, **(others or {})}
        self._statements: Final = statements
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """As settings name it, with user and password."""
        return f"http://{self.user}:{self.password}@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """The process to kill. Raises `RuntimeError` where it is not running."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    def start(self) -> None:
        """Returns when it serves."""
        self.path.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", __spec__.name, "--path", str(self.path), "--port", str(self.port)]
        command += ["--delay", str(self._delay)]
        for user, password in self._users.items():
            command += ["--user", f"{user}:{password}"]
        if self._statements is not None:
            command += ["--statements", str(self._statements)]
        self._process = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(START_SECONDS_MAX, self._process.kill)
        watchdog.start()
        assert self._process.stdout
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise RuntimeError(f"the ClickHouse stand-in ended with status {self._process.wait()}")
        self.port = int(line)

    def slow_down(self, seconds: float) -> None:
        """From now on let every statement take so much longer."""
        fresh = self._delay.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._delay)

    def stop(self) -> None:
        """In good order; harmless where it runs no longer."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _stop_when_orphaned(server: Server) -> None:
    # Unbuffered: a buffered reader still held at the interpreter's end is a fatal error.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.shutdown()


def main() -> None:
    """The process: prints its port, serves until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", action="append", metavar="NAME:PASSWORD")
    parser.add_argument("--statements", type=Path, help="a file that gets every statement as a JSON line")
    parser.add_argument("--delay", type=Path, help="a file that may hold how many seconds each statement waits")
    options = parser.parse_args()
    users = dict(pair.partition(":")[::2] for pair in options.user or ["default:"])
    engine = Engine(options.path)
    server = Server(engine, options.port, users, options.statements, options.delay)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    threading.Thread(target=_stop_when_orphaned, args=(server,), daemon=True).start()
    print(server.server_port, flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    engine.close()


if __name__ == "__main__":
    main()
