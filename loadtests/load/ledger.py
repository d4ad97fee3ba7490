"""What a load generator sent and what it was answered: one append-only file of JSON lines a process.

A record is written before the deed (a batch is offered, a request leaves) and right after an answer, so that whatever
kills the generator, the file holds every scan that may be in the log and every one that was acknowledged. Device and
`first`, the lowest seq of the batch, name a batch.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from events import codec
from events.scans import How, Kind

SUFFIX: Final = ".ledger.jsonl"
FILE_MODE: Final = 0o600
NOBODY: Final = ""
"""The subject of a scan that must be refused: its code cannot be read."""


class Attested(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the log must hold of one scan. `at` in Unix ms, `place` an id, `subject` 32 hex digits or `NOBODY`."""

    seq: int
    at: int
    kind: Kind
    how: How
    place: str
    subject: str


class Offered(msgspec.Struct, frozen=True, tag_field="record", tag="offered"):
    """A batch exists and will be sent."""

    device: str
    scans: list[Attested]

    @property
    def first(self) -> int:
        """What names the batch among those of its device."""
        return self.scans[0].seq


class Sent(msgspec.Struct, frozen=True, tag_field="record", tag="sent"):
    """A signed request with the batch is about to leave; `signing` names its signature."""

    device: str
    first: int
    signing: str


class Untaken(msgspec.Struct, frozen=True, tag_field="record", tag="untaken"):
    """The answer to a request says that nothing of it was taken."""

    device: str
    first: int
    signing: str


class Answered(msgspec.Struct, frozen=True, tag_field="record", tag="answered"):
    """The batch was acknowledged. `verdicts` are those that were not simply "accepted": seq and verdict."""

    device: str
    first: int
    verdicts: list[tuple[int, str]]


Record = Offered | Sent | Untaken | Answered

_decode: Final = msgspec.json.Decoder(Record).decode


class Ledger:
    """Appends records; each is with the operating system when `write` returns, so that it outlives its process."""

    def __init__(self, directory: Path, name: str) -> None:
        """A new file in the directory, which is made. Raises `FileExistsError`: a name is used once."""
        directory.mkdir(parents=True, exist_ok=True)
        self.path: Final = directory / f"{name}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor: Final = os.open(self.path, flags, FILE_MODE)

    def write(self, record: Record) -> None:
        """Append one record."""
        line = codec.to_json(record) + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """Nothing more will be written."""
        os.close(self._descriptor)


class Batch(msgspec.Struct):
    """What the ledger says of one batch.

    `sends` counts requests, `signings` the different signatures among those that may have been taken. `verdicts` is
    None where nobody answered for the batch, else seq → verdict of those that were not simply accepted.
    """

    scans: list[Attested]
    sends: int = 0
    signings: int = 0
    verdicts: dict[int, str] | None = None


Span = tuple[Path, int]
"""A file and the byte in it where a record begins."""


class Ledgers:
    """Every ledger of a directory, indexed by device; holds one device's records in memory at a time."""

    def __init__(self, directory: Path) -> None:
        """Reads all files once. Raises `LedgerBroken`."""
        self._spans: Final[dict[str, list[Span]]] = {}
        self.files: Final = sorted(directory.rglob(f"*{SUFFIX}"))
        for file in self.files:
            for start, record in _records(file):
                self._spans.setdefault(record.device, []).append((file, start))

    @property
    def devices(self) -> list[str]:
        """Every device that sent something, by id."""
        return sorted(self._spans)

    def batches(self, device: str) -> list[Batch]:
        """The device's batches in the order of their first send. Raises `LedgerBroken`."""
        batches: dict[int, Batch] = {}
        open_sends: dict[tuple[int, str], int] = {}
        for path, start in self._spans[device]:
            record = _record_at(path, start)
            try:
                match record:
                    case Offered():
                        batches[record.first] = Batch(record.scans)
                    case Sent():
                        batches[record.first].sends += 1
                        open_sends[record.first, record.signing] = open_sends.get((record.first, record.signing), 0) + 1
                    case Untaken():
                        open_sends[record.first, record.signing] -= 1
                    case Answered():
                        batches[record.first].verdicts = dict(record.verdicts)
            except KeyError:
                raise LedgerBroken(f"{path}: no record before that at byte {start} says what it is about") from None
        for (first, _), count in open_sends.items():
            batches[first].signings += count > 0
        return list(batches.values())


class LedgerBroken(Exception):
    """A ledger holds something else than records, or lacks some; the message names the file and the byte."""


def _record_at(path: Path, start: int) -> Record:
    with path.open("rb") as file:
        file.seek(start)
        record: Record = _decode(file.readline())
        return record


def _records(path: Path) -> Iterator[tuple[int, Record]]:
    """Every record with the byte it begins at. A last line without its end was cut by the death of its process."""
    start = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                yield start, _decode(line)
            except msgspec.MsgspecError:
                raise LedgerBroken(f"{path} holds no record at byte {start}") from None
            start += len(line)
