"""The audit chain followed step by step, in flat memory: the caller says where it stands and hears how far it holds."""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from events.audit import Head
from keys.audit_chain import Break, Checkpoint, Damage, Row, against, walked
from storage.clickhouse import Store
from storage.saved_traces import answer_pieces
from tracing.audit_reader import AuditReader

STEP_ENTRIES: Final = 20_000
STEP_ENTRIES_WITH_ANSWERS: Final = 200
"""An answer may have megabytes."""
BEHIND_ENTRIES: Final = 64
"""Read beyond a step, to tell what was done at its end."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """How far the chain was followed, and what was found.

    It holds behind entry `after` up to entry `number`, whose hash is `hash`. `done`: that is its end, and it is where
    it must be; else go on from there. `end` is the number that the whole walk goes up to. `answers` were compared with
    what the entries say; `answers_gone` are kept no longer. `broken` is the first fault, which ends the walk.
    """

    after: int
    number: int
    hash: str
    end: int
    done: bool
    answers: int
    answers_gone: int
    broken: Break | None


def verified(
    reader: AuditReader, store: Store, after: Head, claimed: Head, kept: Checkpoint | None, *, answers: bool
) -> Verified:
    """One step on from `after`, which the caller has followed before.

    The chain must reach `claimed`, its head by the stream, and a checkpoint that somebody `kept`. With `answers` the
    saved answers are compared, too. Raises `StoreDown`, and AUDIT_DOWN as `ProblemError`.
    """
    heads = [claimed, Head(kept.number, bytes.fromhex(kept.hash))] if kept is not None else [claimed]
    end = max(head.number for head in heads)
    upto = min(after.number + (STEP_ENTRIES_WITH_ANSWERS if answers else STEP_ENTRIES), end)
    rows, waiting = reader.between(after.number, upto + BEHIND_ENTRIES)
    last = max((row.event.number for row in rows), default=after.number)
    head, broken = walked(after, rows, upto=min(upto, last))
    broken = broken or _disagrees(heads, after, head, rows, ended=last < upto)
    looked = gone = 0
    if answers and broken is None:
        settled = [row for row in rows if row.event.number <= head.number and row.event.number not in waiting]
        looked, gone, broken = _compared(store, settled)
    return Verified(
        after=after.number,
        number=head.number,
        hash=head.hash.hex(),
        end=end,
        done=broken is None and head.number == end,
        answers=looked,
        answers_gone=gone,
        broken=broken,
    )


def _disagrees(heads: Sequence[Head], after: Head, head: Head, rows: Sequence[Row], *, ended: bool) -> Break | None:
    """Where a head that was claimed or kept is not on the chain; `ended`: there is nothing behind what was followed."""
    hashes = {row.event.number: row.hash for row in rows if row.event.number <= head.number} | {
        after.number: after.hash
    }
    for one in sorted(heads, key=lambda one: one.number):
        if one.number in hashes or (one.number > head.number and ended):
            broken = against(one, hashes.get(one.number))
            if broken is not None:
                return broken
    return None


def _compared(store: Store, rows: Sequence[Row]) -> tuple[int, int, Break | None]:
    """How many answers were compared, how many are gone, and the first that is not what its entry says."""
    digests = {row.event.object: row.event for row in rows if row.event.digest}
    if not digests:
        return 0, 0, None
    found = _digests_of(store, list(digests))
    for name, event in digests.items():
        if name in found and found[name] != event.digest:
            text = "the saved answer is not the one that was given"
            return len(found), 0, Break(number=event.number, kind=Damage.ANSWER_ALTERED, text=text)
    return len(found), len(digests) - len(found), None


def _digests_of(store: Store, traces: Sequence[str]) -> dict[str, str]:
    """The SHA-256, in hex, of those answers that are kept. One that lies in pieces has no answer in its row."""
    sql = "SELECT id, empty(answer), lower(hex(SHA256(answer))) FROM traces WHERE id IN {ids:Array(String)}"
    found = {
        trace: _digest(store, trace) if in_pieces else digest
        for trace, in_pieces, digest in store.rows(sql, {"ids": list(traces)})
    }
    return {trace: digest for trace, digest in found.items() if digest}


def _digest(store: Store, trace: str) -> str:
    """The SHA-256, in hex, of an answer in pieces; empty where these are gone already, and the row is about to go."""
    digest, length = hashlib.sha256(), 0
    for piece in answer_pieces(store, trace) or ():
        digest.update(piece)
        length += len(piece)
    return digest.hexdigest() if length else ""
