"""What the campaign knows: every scan that was sent, and every batch that was acknowledged."""

import msgspec

from events.scans import How, Kind, Refusal

ScanId = tuple[int, int]
"""A device's number and its seq."""


class Sent(msgspec.Struct, frozen=True):
    """One scan as it was sent. `refusal` is why it must be turned away; None where it must be in the log."""

    at: int
    place: int
    subject: bytes
    kind: Kind
    refusal: Refusal | None = None

    @property
    def content(self) -> tuple[int, int, int, str, str, str]:
        """As the log must have it: key, at, place, subject in hex, kind, way."""
        return (1, self.at, self.place, self.subject.hex(), self.kind.value, How.CODE.value)


class Batch(msgspec.Struct, frozen=True):
    """One body: consecutive seqs of a device from `first` to `last`, however often it was sent."""

    device: int
    first: int
    last: int
    body: bytes


class Acknowledged(msgspec.Struct, frozen=True):
    """A batch that the edge has answered for; `entry` is empty where it recognised a replay."""

    batch: Batch
    entry: str


class Ledger:
    """Grows while traffic flows; read while it rests."""

    def __init__(self) -> None:
        self.scans: dict[ScanId, Sent] = {}
        self.batches: dict[ScanId, Batch] = {}
        """By device and first seq."""
        self.acknowledged: list[Acknowledged] = []
        self.scans_acknowledged = 0
        self.attempts = 0
        """How many requests were sent, those without an answer too."""

    def send(self, batch: Batch, scans: list[Sent]) -> None:
        """Note a batch before its first attempt."""
        self.batches[batch.device, batch.first] = batch
        self.scans.update({(batch.device, batch.first + number): scan for number, scan in enumerate(scans)})

    def acknowledge(self, batch: Batch, entry: str) -> None:
        """Note the edge's answer."""
        self.acknowledged.append(Acknowledged(batch, entry))
        self.scans_acknowledged += batch.last - batch.first + 1
