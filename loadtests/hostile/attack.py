"""What is sent, with what may become of it; and the stage on which attacks are made up."""

import collections
import gzip
import random
from typing import Any, Final

import msgspec

from app.clock import now_ms
from events.scans import Kind
from loadtests.hostile.actors import Actor, Cast
from loadtests.hostile.signing import JSON, MSGPACK, signed
from loadtests.hostile.wire import NO_ANSWER, Answer, Wire

Fields = dict[str, Any]
"""A scan as a device writes it, right or wrong."""
Row = tuple[int, int, int, int, int, str, str, str]
"""What the log holds of a scan: device, key, seq, at (ms), place, subject in hex, kind, how."""

SCANS_MAX: Final = 3
TAKEN_KEPT: Final = 64
"""Few, so that the oldest of them is still fresh when it is sent again."""
GOOD_SEQS_FROM: Final = 1
REFUSED_SEQS_FROM: Final = 2**40
NEVER_SEQS_FROM: Final = 2**50
"""Where the seqs begin of what must be taken, of what must be refused scan by scan, and of what must never be taken.

Apart, so that a device's seqs leave few holes: the account of what was seen of a device is bounded."""
ACCEPTED: Final = 202
REPLAYED: Final = 200
PHONE: Final = "phone"
CODE: Final = "code"


class Signed(msgspec.Struct, frozen=True):
    """A good request, and the rows that the log must hold once it is acknowledged."""

    actor: Actor
    wire: Wire
    rows: tuple[Row, ...]


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """A request as bytes, and the one thing that may become of it.

    With `problems`: refused as one of them. With `verdicts`: taken, and every scan refused for one of these reasons.
    With `rows`: acknowledged, and these are in the log for good, of which `known` have a seq that was taken before.
    With `replay`: the same, or recognised to the letter, which adds nothing to the log. `alone`: it may be no HTTP, so
    it has a connection of its own, and no answer is an answer too. `signed`: what a replay may be made of.
    """

    name: str
    raw: bytes
    alone: bool = False
    problems: frozenset[str] = frozenset()
    verdicts: frozenset[str] = frozenset()
    replay: bool = False
    rows: tuple[Row, ...] = ()
    known: int = 0
    signed: Signed | None = None

    def fault(self, answer: Answer) -> str:
        """What is wrong with the answer; empty where nothing is."""
        if self.problems:
            no_answer = self.alone and answer.status == NO_ANSWER
            refused = 400 <= answer.status < 500 and answer.problem in self.problems
            expected = " or ".join(sorted(self.problems))
            return "" if refused or no_answer else f"{answer.status} {answer.problem} instead of {expected}"
        if answer.status != ACCEPTED and not self.recognised(answer):
            return f"{answer.status} {answer.problem}"
        receipt = answer.receipt
        counts = (receipt.accepted, receipt.duplicate, receipt.refused)
        found = {verdict.verdict for verdict in receipt.verdicts}
        if self.verdicts:
            right = counts == (0, 0, len(receipt.verdicts)) and found <= self.verdicts
        else:
            right = counts == (len(self.rows) - self.known, self.known, 0)
        return "" if right else f"accepted, duplicate, refused: {counts}; {', '.join(sorted(found))}"

    def recognised(self, answer: Answer) -> bool:
        """Whether the edge says that it took this very request before."""
        return self.replay and answer.status == REPLAYED


class Stage:
    """Where attacks are made up: the cast, chance, and the good requests that were acknowledged lately."""

    def __init__(self, cast: Cast, chance: random.Random) -> None:
        self.cast: Final = cast
        self.chance: Final = chance
        self._taken: Final[collections.deque[Signed]] = collections.deque(maxlen=TAKEN_KEPT)

    def take(self, request: Signed) -> None:
        """Remember a good request that was acknowledged."""
        self._taken.append(request)

    def taken(self) -> Signed:
        """A good request that was acknowledged."""
        return self.chance.choice(self._taken)

    def victim(self, actor: Actor | None = None) -> Signed:
        """A good request that is never sent as it is, to be tampered with."""
        return self.good(actor, NEVER_SEQS_FROM)

    def good(self, actor: Actor | None = None, seqs_from: int = GOOD_SEQS_FROM) -> Signed:
        """A good request that was never sent."""
        actor = actor or self.chance.choice(self.cast.honest)
        scans, rows = [], []
        for _ in range(self.chance.randint(1, SCANS_MAX)):
            scan, subject, how = self.scan(actor, seq=self.cast.seq(actor, seqs_from))
            row = (actor.device.number, actor.number, scan["seq"], scan["at"])
            place = actor.place or self.cast.hall.place
            scans.append(scan)
            rows.append((*row, place, subject.hex(), scan["kind"], how))
        return Signed(actor, self.request(actor, scans), tuple(rows))

    def scan(self, actor: Actor, **fields: Any) -> tuple[Fields, bytes, str]:
        """A good scan with its subject and the way that it was named; `fields` are written over it, None leaves off."""
        scan: Fields = {
            "seq": 0 if "seq" in fields else self.cast.seq(actor, REFUSED_SEQS_FROM),
            "at": now_ms() - self.chance.randrange(3_600_000),
            "kind": self.chance.choice(list(Kind)).value,
        }
        if actor.place:
            subject, text = self.chance.choice(self.cast.codes.good)
            scan["code"] = text
            how = CODE
        else:
            subject, how = self.cast.holder, PHONE
            scan["place_code"] = self.cast.codes.wall
        scan |= fields
        return {name: value for name, value in scan.items() if value is not None}, subject, how

    def request(self, actor: Actor, scans: list[Fields], **how: Any) -> Wire:
        """The scans signed by the device, in one of the forms that there are; `how` goes to `signed`."""
        batch = {"scans": scans}
        packed = self.chance.random() < 0.5
        body = msgspec.msgpack.encode(batch) if packed else msgspec.json.encode(batch)
        zipped = self.chance.random() < 0.3
        return self.signed(
            actor,
            gzip.compress(body, 1) if zipped else body,
            **{"content_type": MSGPACK if packed else JSON, "encoding": "gzip" if zipped else None} | how,
        )

    def signed(self, actor: Actor, body: bytes, **how: Any) -> Wire:
        """Any body, signed by the device now; `how` goes to `signed`."""
        return signed(actor.key, how.pop("keyid", actor.keyid), body, **{"created": now_ms() // 1000} | how)
