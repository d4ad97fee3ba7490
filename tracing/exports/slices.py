"""Find the contacts in an answer's JSON as it comes in pieces, without holding the answer.

An answer of a million contacts is a gigabyte. Only braces, brackets and strings are looked at here, by one regular
expression; what lies between them is decoded contact by contact by whoever asks. Pure.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

CONTACTS: Final = b'"contacts"'
SLICE_BYTES_MAX: Final = 64_000_000
"""One contact, or all that comes before the first one, fits in this many bytes."""

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|"', re.DOTALL)
"""A whole string, a bracket, or the beginning of a string that the next piece ends."""
_BRACE: Final = re.compile(rb'[^"{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}]*+)*+([{}])', re.DOTALL)
"""Up to the next brace that stands in no string. Nothing is tried twice, so that a cut string costs one look."""
_BETWEEN: Final = re.compile(rb"[\s,]*+")


class Unreadable(ValueError):
    """The bytes are no answer in JSON. The text names no content."""


class Slices:
    """One pass over an answer: first `head`, then `contacts`, each as the JSON that it is.

    A pass over pieces that begin at a contact, or between two, has no head.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Final = iter(pieces)
        self._buffer = b""
        self._position = 0
        self._dropped = 0

    @property
    def passed(self) -> int:
        """How many bytes of the pieces lie behind: after a contact, where the next one may be looked for."""
        return self._dropped + self._position

    def head(self) -> bytes:
        """The answer as a JSON object without its contacts. Raises `Unreadable`."""
        depth, before, named = 0, b"", False
        while True:
            for token, _, end in self._tokens():
                if named and token == b"[" and depth == 1:
                    self._drop(end)
                    return before + b"}"
                depth += _step(token)
                if depth < 1:
                    raise Unreadable("an answer without contacts")
                named = depth == 1 and token == CONTACTS
                if named:
                    before = self._buffer[: end - len(CONTACTS)].rstrip().removesuffix(b",")
                self._position = end
            self._more()

    def contacts(self) -> Iterator[bytes]:
        """Each contact's JSON, in order; to be asked after `head`. Raises `Unreadable` for an answer cut short."""
        while self._at_contact():
            depth, start = 0, self._position
            while depth or self._position == start:
                found = _BRACE.match(self._buffer, self._position)
                if found is None:
                    self._drop(start)
                    start = 0
                    self._more()
                    continue
                depth += 1 if found[1] == b"{" else -1
                self._position = found.end()
            yield self._buffer[start : self._position]

    def _at_contact(self) -> bool:
        """Whether another contact begins at the position, once what stands between is passed; False at the end."""
        while True:
            self._position = _BETWEEN.match(self._buffer, self._position).end()  # type: ignore[union-attr]  # matches ""
            if self._position < len(self._buffer):
                break
            self._drop(self._position)
            self._more()
        if self._buffer[self._position : self._position + 1] not in (b"{", b"]"):
            raise Unreadable("a contact that is no object")
        return self._buffer[self._position : self._position + 1] == b"{"

    def _tokens(self) -> Iterator[tuple[bytes, int, int]]:
        """What is whole in the buffer from the position on."""
        for found in _TOKEN.finditer(self._buffer, self._position):
            token = found[0]
            if token == b'"':
                return
            yield token, found.start(), found.end()

    def _drop(self, end: int) -> None:
        """Forget the buffer up to there."""
        self._buffer = self._buffer[end:]
        self._position = max(self._position - end, 0)
        self._dropped += end

    def _more(self) -> None:
        """One piece more into the buffer."""
        piece = next(self._pieces, None)
        if piece is None:
            raise Unreadable("an answer that is cut short")
        if len(self._buffer) > SLICE_BYTES_MAX:
            raise Unreadable("a contact beyond every limit")
        self._buffer += piece


def _step(token: bytes) -> int:
    if token in (b"{", b"["):
        return 1
    return -1 if token in (b"}", b"]") else 0
