"""Notices that the key file was replaced, so that a rotation reaches the running processes."""

from pathlib import Path
from typing import Final

from app.key_file import KeyFileError, load
from keys.secrets import ServerSecrets

WATCH_SECONDS: Final = 2.0
"""How often the processes look, so how long a rotation may take to arrive."""


class KeyWatch:
    """Looks at the file's identity; reads it only when that has changed."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._seen = self._identity()

    def fresh(self) -> ServerSecrets | None:
        """The secrets if the file was replaced since the last look and can be read, else None."""
        identity = self._identity()
        if identity in (None, self._seen):
            return None
        try:
            secrets = load(self._path)
        except KeyFileError:
            return None
        self._seen = identity
        return secrets

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
