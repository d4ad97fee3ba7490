"""The one way into the audit chain: what waits at the same time is appended together, behind the head of all processes.

The stream's server cannot compute the hash, so it is computed here, behind the head that was seen last, and taken only
where that is the head still; else once more behind the newer one. An append that another process forestalls means that
the other one succeeded.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from events import codec
from events.audit import AuditEvent, Head, linked
from storage.audit_stream import AuditStream, Link
from storage.errors import StreamDown

FORESTALLED_SECONDS_MAX: Final = 5.0
TOGETHER_ENTRIES_MAX: Final = 1_000


class Draft(msgspec.Struct, frozen=True):
    """An entry without its number, and the packed answer that is saved with it."""

    event: AuditEvent
    saved: bytes = b""


class Wanted:
    """What one thread waits for."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts: Final = drafts
        self.done = False
        self.fault: Exception | None = None


class AuditWriter:
    """Appends to the chain, for any number of threads."""

    def __init__(
        self,
        stream: AuditStream,
        stored: Callable[[], Head],
        resumed: Callable[[Head], Draft],
        *,
        on_waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`stored` is the last entry in the store, `resumed` the entry that says that the stream forgot the rest.

        `on_waited` is told how many seconds each `append` took, those that failed as well.
        """
        self._stream: Final = stream
        self._stored: Final = stored
        self._resumed: Final = resumed
        self._on_waited: Final = on_waited
        self._head: Head | None = None
        self._turn: Final = threading.Lock()
        self._gate: Final = threading.Lock()
        self._wanted: list[Wanted] = []

    def append(self, drafts: Sequence[Draft]) -> None:
        """Return when the entries are durable. Raises `StreamDown`, `StreamFull` and `StoreDown`."""
        mine, began = Wanted(drafts), time.perf_counter()
        with self._gate:
            self._wanted.append(mine)
        with self._turn:
            while not mine.done:
                self._send(self._taken())
        self._on_waited(time.perf_counter() - began)
        if mine.fault is not None:
            raise mine.fault

    def head(self) -> Head:
        """The chain's last entry. Raises `StreamDown` and `StoreDown`."""
        return self._stream.head() or self._stored()

    def _taken(self) -> list[Wanted]:
        taken: list[Wanted] = []
        with self._gate:
            while self._wanted and (not taken or sum(len(one.drafts) for one in taken) < TOGETHER_ENTRIES_MAX):
                taken.append(self._wanted.pop(0))
        return taken

    def _send(self, wanted: list[Wanted]) -> None:
        fault: Exception | None = StreamDown("stopped in the midst of an append")
        try:
            self._chain([draft for one in wanted for draft in one.drafts])
            fault = None
        except Exception as error:
            fault = error
        finally:
            if fault is not None:
                # Whether it was appended is not known; the next append begins by asking.
                self._head = None
            for one in wanted:
                one.fault, one.done = fault, True

    def _chain(self, drafts: Sequence[Draft]) -> None:
        until = time.monotonic() + FORESTALLED_SECONDS_MAX
        head = self._head
        while time.monotonic() < until:
            if head is None:
                head, drafts = self._begun(drafts)
            links = chained(head, drafts)
            newer = self._stream.append(head, links)
            if newer is None:
                self._head = Head(links[-1].number, links[-1].hash)
                return
            # A head only ever goes on: one that has not is the head of a stream that lost what it knew.
            head = newer if newer.number > head.number else None
        raise StreamDown("other processes were always faster")

    def _begun(self, drafts: Sequence[Draft]) -> tuple[Head, Sequence[Draft]]:
        """The head to go on from. The stream may have lost its own, or have come back from a backup: the store's counts
        then, and an entry says so.
        """
        head, moved = self._stream.advance(self._stored())
        return head, [self._resumed(head), *drafts] if moved and head.number > 0 else drafts


def chained(head: Head, drafts: Iterable[Draft]) -> list[Link]:
    """The drafts as entries behind a head."""
    links: list[Link] = []
    for draft in drafts:
        event = msgspec.structs.replace(draft.event, number=head.number + 1)
        head = Head(event.number, linked(head.hash, event))
        links.append(Link(head.number, head.hash, codec.to_json(event), draft.saved))
    return links
