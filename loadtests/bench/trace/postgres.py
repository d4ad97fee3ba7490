"""PostgreSQL of the machine's own package, run for one bench: a cluster in a directory, under a user without rights.

Its binaries are Debian's (`apt-get install postgresql`). It listens on a socket in its directory alone, and nothing of
it stays. Questions go through `psql`, whose `\\timing` measures from the statement sent to the last row received.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from app.errors import Explained

PACKAGED: Final = Path("/usr/lib/postgresql")
NEEDED: Final = ("initdb", "postgres", "psql", "pg_isready")
VERSION_COMPARED: Final = "15"
USERS: Final = ("postgres", "nobody")
OWNER: Final = "bench"
READY_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.05
STATEMENT_SECONDS_MAX: Final = 6 * 3_600
SETTINGS: Final = {
    "listen_addresses": "",
    "shared_buffers": "2GB",
    "effective_cache_size": "12GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "30min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "random_page_cost": "1.1",
    "jit": "off",
    "autovacuum": "off",
}
"""For a machine with an SSD and data that fit into memory, for bulk loads, and for short questions; the rest is the
package's default, `fsync` included."""
_TIME: Final = re.compile(r"^Time: ([0-9.]+) ms", re.MULTILINE)


class PostgresFailed(Explained):
    """The server does not start, or refuses a statement; the message says why."""


def packaged() -> Path | None:
    """The directory of a packaged server's binaries, version 15 before others; None where there is none."""
    found = [path for path in PACKAGED.glob("*/bin") if all((path / name).is_file() for name in NEEDED)]
    return max(found, key=lambda path: (path.parent.name == VERSION_COMPARED, path), default=None)


class User(msgspec.Struct, frozen=True):
    """Whom a process runs as; None is whoever this one does."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...] | None


class Postgres:
    """A running server with one empty database; a context manager."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        """`directory`: where its data shall lie; where its user cannot get there, it is a temporary one."""
        self._binaries: Final = binaries
        self._user: Final = _user()
        self._directory: Final = _reachable(directory, self._user)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def version(self) -> str:
        """As the server says it."""
        return self.asked("SHOW server_version").split()[0]

    def __enter__(self) -> Self:
        data = self._directory / "data"
        self._as_user(
            "initdb", "-D", str(data), "-U", OWNER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"
        )
        options = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        log = (self._directory / "log").open("wb")
        self._server = subprocess.Popen(
            [self._binaries / "postgres", "-D", str(data), "-k", str(self._directory), *options],
            stdout=log,
            stderr=log,
            cwd=self._directory,
            user=self._user.uid,
            group=self._user.gid,
            extra_groups=self._user.groups,
        )
        log.close()
        try:
            self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def asked(self, *statements: str) -> str:
        """Run statements, each in a transaction of its own; what they answer, a row a line and `|` between columns.

        Raises `PostgresFailed`.
        """
        return self._psql(["-At", "-f", "-"], ";\n".join(statements).encode() + b";\n").decode()

    def timed_ms(self, prepare: Sequence[str], statements: Sequence[str]) -> list[float]:
        """How long each statement takes in ms, its answer read to the end and thrown away. One session for all."""
        timed = ["\\o /dev/null", "\\timing on", *(f"{statement};" for statement in statements)]
        script = "\n".join([*(f"{statement};" for statement in prepare), *timed])
        printed = self._psql(["-At", "-f", "-"], script.encode() + b"\n").decode()
        return [float(ms) for ms in _TIME.findall(printed)]

    def copied(self, table: str, rows: bytes) -> float:
        """Append rows in the binary format of COPY; the seconds that it took."""
        began = time.perf_counter()
        self._psql(["-c", f"COPY {table} FROM STDIN (FORMAT binary)"], rows)
        return time.perf_counter() - began

    def ran(self, statement: str) -> float:
        """Run a statement; the seconds that it took."""
        began = time.perf_counter()
        self.asked(statement)
        return time.perf_counter() - began

    def _psql(self, arguments: list[str], given: bytes) -> bytes:
        command = [str(self._binaries / "psql"), "-h", str(self._directory), "-U", OWNER, "-d", "postgres"]
        try:
            return subprocess.run(
                [*command, "-X", "-q", "-v", "ON_ERROR_STOP=1", *arguments],
                input=given,
                capture_output=True,
                check=True,
                timeout=STATEMENT_SECONDS_MAX,
            ).stdout
        except subprocess.CalledProcessError as error:
            raise PostgresFailed(f"PostgreSQL: {error.stderr.decode(errors='replace').strip()}") from error

    def _await_ready(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + READY_SECONDS_MAX
        ask = [str(self._binaries / "pg_isready"), "-q", "-h", str(self._directory)]
        while subprocess.run(ask, check=False).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                said = (self._directory / "log").read_text(errors="replace").strip().splitlines()
                raise PostgresFailed(f"PostgreSQL does not start: {said[-1] if said else 'it says nothing'}")
            time.sleep(POLL_SECONDS)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._server.send_signal(signal.SIGQUIT)
                self._server.wait()
            self._server = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def _as_user(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / name, *arguments],
            capture_output=True,
            check=False,
            cwd=self._directory,
            user=self._user.uid,
            group=self._user.gid,
            extra_groups=self._user.groups,
        )
        if done.returncode != 0:
            raise PostgresFailed(f"PostgreSQL: {done.stderr.decode(errors='replace').strip()}")


def _user() -> User:
    """This one, or where it is root, who may not run the server, somebody else. Raises `PostgresFailed`."""
    if os.geteuid() != 0:
        return User(None, None, None)
    for name in USERS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return User(entry.pw_uid, entry.pw_gid, ())
    raise PostgresFailed("PostgreSQL does not run as root, and there is no user for it.")


def _reachable(directory: Path, user: User) -> Path:
    """The directory, or a new temporary one, as the user's own. Raises `PostgresFailed`."""
    if user.uid is None or _given(directory, user):
        return directory
    other = Path(tempfile.mkdtemp(prefix="truyvet-bench-"))
    if _given(other, user):
        return other
    other.rmdir()
    raise PostgresFailed(f"The user of PostgreSQL can reach neither {directory} nor {tempfile.gettempdir()}.")


def _given(directory: Path, user: User) -> bool:
    """Make the directory the user's own; whether they can get there."""
    assert user.uid is not None
    directory.parent.chmod(directory.parent.stat().st_mode | 0o011)
    os.chown(directory, user.uid, -1)
    ask = ["test", "-w", str(directory)]
    return subprocess.run(ask, user=user.uid, group=user.gid, extra_groups=(), check=False).returncode == 0
