"""What the ledger says of one device, held against what the log has of it. Pure.

- **Lost**: acknowledged as accepted or duplicate, and not in the log.
- **Doubled**: more deliveries in the log than requests that may have been taken. A request is its signature: the edge
  recognises the same one again. A batch that was signed anew after its answer was lost may rightly be in the log
  twice; the read models keep the first.
- **Altered**: a delivery that differs from what was sent, of a scan that was refused, or that nobody ever sent.
"""

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from events.scans import How, Kind, Refusal
from loadtests.load.ledger import Attested, Batch

ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
CONTENT: Final = ("at", "kind", "how", "place", "subject")


class Logged(msgspec.Struct, frozen=True, gc=False):
    """One delivery as the log holds it. Times in Unix ms, `place` an id, `subject` 32 hex digits."""

    seq: int
    at: int
    received: int
    kind: Kind
    how: How
    place: str
    subject: str


class Wrong(enum.StrEnum):
    """The three ways to break the promise."""

    LOST = "lost"
    DOUBLED = "doubled"
    ALTERED = "altered"


class Finding(msgspec.Struct, frozen=True):
    """One scan that the promise was broken for. `detail` names no person."""

    wrong: Wrong
    device: str
    seq: int
    detail: str


class Account(msgspec.Struct):
    """The sums of an audit. `deliveries` are in the log, `repeated` those of them beyond the first of each scan."""

    devices: int = 0
    batches: int = 0
    scans: int = 0
    accepted: int = 0
    duplicate: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    unanswered: int = 0
    deliveries: int = 0
    repeated: int = 0
    lost: int = 0
    doubled: int = 0
    altered: int = 0

    @property
    def acknowledged(self) -> int:
        """Scans that a receipt answered for."""
        return self.accepted + self.duplicate + sum(self.refused.values())

    @property
    def wrong(self) -> int:
        """How often the promise was broken."""
        return self.lost + self.doubled + self.altered

    def reconcile(self, device: str, batches: list[Batch], logged: Iterable[Logged]) -> list[Finding]:
        """Add one device; returns what is wrong with it."""
        found: list[Finding] = []
        deliveries: dict[int, list[Logged]] = {}
        for delivery in logged:
            deliveries.setdefault(delivery.seq, []).append(delivery)
        self.devices += 1
        self.batches += len(batches)
        self.deliveries += sum(len(several) for several in deliveries.values())
        self.repeated += sum(len(several) - 1 for several in deliveries.values())
        for batch in batches:
            for scan in batch.scans:
                verdict = self._count(batch, scan)
                wrongs = wrongs_of(scan, verdict, batch, deliveries.pop(scan.seq, []))
                found += [Finding(wrong, device, scan.seq, detail) for wrong, detail in wrongs]
        found += [Finding(Wrong.ALTERED, device, seq, "nobody sent it") for seq in sorted(deliveries)]
        self.lost += sum(finding.wrong is Wrong.LOST for finding in found)
        self.doubled += sum(finding.wrong is Wrong.DOUBLED for finding in found)
        self.altered += sum(finding.wrong is Wrong.ALTERED for finding in found)
        return found

    def _count(self, batch: Batch, scan: Attested) -> str | None:
        """The scan's verdict; None where there was no answer."""
        self.scans += 1
        if batch.verdicts is None:
            self.unanswered += 1
            return None
        verdict = batch.verdicts.get(scan.seq, ACCEPTED)
        if verdict == ACCEPTED:
            self.accepted += 1
        elif verdict == DUPLICATE:
            self.duplicate += 1
        else:
            self.refused[verdict] = self.refused.get(verdict, 0) + 1
        return verdict


def wrongs_of(scan: Attested, verdict: str | None, batch: Batch, deliveries: list[Logged]) -> list[tuple[Wrong, str]]:
    """What is wrong with one scan, each kind once, with its reason. `deliveries` are the log's of its seq."""
    if not deliveries:
        return [(Wrong.LOST, f"acknowledged as {verdict}")] if verdict in {ACCEPTED, DUPLICATE} else []
    found = []
    if len(deliveries) > batch.signings:
        found.append((Wrong.DOUBLED, f"{len(deliveries)} deliveries of {batch.signings} that may have been taken"))
    differing = [name for name in CONTENT if any(getattr(one, name) != getattr(scan, name) for one in deliveries)]
    if differing:
        found.append((Wrong.ALTERED, f"{', '.join(differing)} differ from what was sent"))
    elif verdict in _REFUSALS and batch.sends == 1:
        # Sent again, the first request may have been taken and the second refused: a registry changed in between.
        found.append((Wrong.ALTERED, f"refused as {verdict}, yet in the log"))
    return found


_REFUSALS: Final = frozenset(Refusal)
