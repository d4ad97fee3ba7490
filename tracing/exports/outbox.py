"""A file for libraries that write to files, of which what was written is taken away at once."""

import io
from typing import Any


class Outbox(io.RawIOBase):
    """Only grows and has no way back: whoever writes to it must not seek."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self.size = 0
        """Bytes that wait to be taken."""

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any) -> int:
        """Keep a copy: the writer may use the memory of `data`, any buffer, again."""
        part = bytes(data)
        self._parts.append(part)
        self.size += len(part)
        return len(part)

    def take(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts, self.size = self._parts, [], 0
        return b"".join(parts)
