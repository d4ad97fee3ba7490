"""A real nginx with the deployment's own configuration, its names and paths moved to this machine."""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from app.ports import free_ports
from tests.deploy.compose import ROOT

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
START_SECONDS_MAX: Final = 30.0


class Door:
    """nginx in front of an ingest and a trace process on loopback ports."""

    def __init__(self, directory: Path, *, ingest_port: int, trace_port: int, listen: str = "listen.conf") -> None:
        self.port, self.tls_port = free_ports(2)
        self.log: Final = directory / "access.log"
        self._directory: Final = directory
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "tmp").mkdir(parents=True)
        moved = {
            "/etc/nginx/truyvet/listen.conf": str(directory / listen),
            "/etc/nginx/truyvet/": f"{directory}/",
            "/run/secrets/tls-certificate": str(directory / "tls.crt"),
            "/run/secrets/tls-key": str(directory / "tls.key"),
            "/dev/stdout": str(self.log),
            "/dev/stderr": str(directory / "error.log"),
            "/tmp/": f"{directory}/tmp/",
            "http://ingest:8470": f"http://127.0.0.1:{ingest_port}",
            "http://trace:8471": f"http://127.0.0.1:{trace_port}",
            "127.0.0.1:8080": f"127.0.0.1:{self.port}",
            "listen 8080": f"listen 127.0.0.1:{self.port}",
            "listen 8443": f"listen 127.0.0.1:{self.tls_port}",
        }
        for file in (ROOT / "deploy" / "nginx").iterdir():
            text = re.sub(
                "|".join(map(re.escape, moved)), lambda found: moved[found[0]], file.read_text(encoding="utf-8")
            )
            (directory / file.name).write_text(text, encoding="utf-8")

    def check(self) -> subprocess.CompletedProcess[str]:
        """What `nginx -t` says of the configuration."""
        return subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)

    def start(self) -> None:
        """Return once it listens."""
        self._process = subprocess.Popen([*self._command(), "-g", "daemon off;"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("nginx does not start") from None
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """End it; harmless where it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _command(self) -> list[str]:
        assert NGINX is not None
        error_log = str(self._directory / "start.log")
        return [NGINX, "-c", str(self._directory / "nginx.conf"), "-p", str(self._directory), "-e", error_log]
