"""Every parcel goes through the public edge, signed by its device; every receipt is held against what must be in it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.errors import Explained
from app.simulate.delivery import Parcel
from app.simulate.edge import Answer, ConnectionGone, EdgeConnection
from app.simulate.enrol import keyid
from app.simulate.wallet import Wallet
from app.simulate.wire import Wire
from app.simulate.world import World
from events import codec
from events.problems import KEY_UNKNOWN, PROBLEM_TYPE_BASE, Problem
from events.scans import SCANS_PATH, Receipt, Refusal
from keys.http_signatures import sign_request

CONTENT_TYPE: Final = "application/msgpack"
CONNECTIONS: Final = 16
ATTEMPTS_MAX: Final = 30
RETRY_SECONDS_FIRST: Final = 0.1
RETRY_SECONDS_MAX: Final = 10.0
BUSY: Final = frozenset({429, 503})
TAKEN: Final = frozenset({200, 202})
DUPLICATE: Final = "duplicate"
SURPRISES_KEPT: Final = 20


class PostFailed(Explained):
    """The edge does not take the scans; the message says what it answered and what to do."""


class Tally(msgspec.Struct):
    """What became of the parcels so far. `scans` counts repeats too; `waited` how often the edge asked for patience.

    `surprises` are receipts that differ from what must be in them: each one is a fault of the service.
    """

    parcels: int = 0
    scans: int = 0
    accepted: int = 0
    duplicate: int = 0
    refused: int = 0
    waited: int = 0
    surprises: list[str] = msgspec.field(default_factory=list)


OnParcel = Callable[[Tally], None]


async def post(world: World, wallet: Wallet, base_url: str, on_parcel: OnParcel) -> Tally:
    """Send all parcels of the world; each device's in their order. `on_parcel` is called after each.

    Raises `PostFailed`, after which the same call may be made again: what was taken is a duplicate then.
    """
    tally = Tally()
    wire = Wire(world, wallet)
    try:
        async with asyncio.TaskGroup() as lanes:
            for parcels in _lanes(world.parcels):
                lanes.create_task(_Lane(wire, wallet, base_url, tally, on_parcel).run(parcels))
    except* PostFailed as failures:
        failed = failures
    else:
        return tally
    raise PostFailed(str(failed.exceptions[0]))


def _lanes(parcels: list[Parcel]) -> list[list[Parcel]]:
    """The parcels dealt to connections: a device stays on one, and all connections have about as much to send."""
    by_device: dict[str, list[Parcel]] = {}
    for parcel in parcels:
        by_device.setdefault(parcel.device, []).append(parcel)
    lanes: list[list[Parcel]] = [[] for _ in range(CONNECTIONS)]
    for sent in sorted(by_device.values(), key=len, reverse=True):
        min(lanes, key=len).extend(sent)
    return [sorted(lane, key=lambda parcel: parcel.sent) for lane in lanes if lane]


class _Lane:
    """One connection's work."""

    def __init__(self, wire: Wire, wallet: Wallet, base_url: str, tally: Tally, on_parcel: OnParcel) -> None:
        self._wire: Final = wire
        self._wallet: Final = wallet
        self._connection: Final = EdgeConnection(base_url)
        self._tally: Final = tally
        self._on_parcel: Final = on_parcel

    async def run(self, parcels: list[Parcel]) -> None:
        keys = {device: self._wallet.device_key(device) for device in {parcel.device for parcel in parcels}}
        try:
            for parcel in parcels:
                body = codec.to_msgpack(self._wire.batch(parcel))
                self._count(parcel, await self._sent(parcel.device, keys[parcel.device], body))
                self._on_parcel(self._tally)
        finally:
            self._connection.close()

    async def _sent(self, device: str, key: Ed25519PrivateKey, body: bytes) -> Answer:
        """The edge's answer once it has taken the batch; signed anew for every attempt. Raises `PostFailed`."""
        pause = RETRY_SECONDS_FIRST
        for _ in range(ATTEMPTS_MAX):
            headers = sign_request(
                key,
                keyid(device),
                method="POST",
                path=SCANS_PATH,
                content_type=CONTENT_TYPE,
                body=body,
                created=int(time.time()),
            )
            try:
                answer = await self._connection.post(SCANS_PATH, headers, body)
            except ConnectionGone:
                wait = pause
            else:
                if answer.status in TAKEN:
                    return answer
                wait = _patience(answer, pause)
            self._tally.waited += 1
            await asyncio.sleep(wait)
            pause = min(pause * 2, RETRY_SECONDS_MAX)
        raise PostFailed(
            "The ingest edge does not take scans. `truyvet doctor` checks every part; then run this again."
        )

    def _count(self, parcel: Parcel, answer: Answer) -> None:
        receipt = codec.from_json(answer.body, Receipt)
        tally = self._tally
        tally.parcels += 1
        tally.scans += len(parcel.taken)
        tally.accepted += receipt.accepted
        tally.duplicate += receipt.duplicate
        tally.refused += receipt.refused
        surprise = surprise_in(parcel, receipt)
        if surprise and len(tally.surprises) < SURPRISES_KEPT:
            tally.surprises.append(surprise)


def surprise_in(parcel: Parcel, receipt: Receipt) -> str:
    """How the receipt differs from what it must say of this parcel; empty where it does not."""
    refused = {verdict.seq: verdict.verdict for verdict in receipt.verdicts if verdict.verdict != DUPLICATE}
    wanted = {taken.seq: Refusal.EXPIRED_CODE.value for taken in parcel.taken if taken.attempt.stale}
    seqs = f"{parcel.device} {parcel.taken[0].seq}–{parcel.taken[-1].seq}"
    if refused != wanted:
        reasons = sorted({reason for seq, reason in refused.items() if wanted.get(seq) != reason})
        lacking = len(wanted.keys() - refused.keys())
        return f"{seqs}: refused as {', '.join(reasons) or 'nothing'}; {lacking} expired codes were not refused"
    if receipt.accepted + receipt.duplicate + receipt.refused != len(parcel.taken):
        return f"{seqs}: the receipt does not add up to {len(parcel.taken)} scans"
    if receipt.seen_to < parcel.taken[-1].seq:
        return f"{seqs}: the receipt has seen the device's scans to {receipt.seen_to} only"
    return ""


def _patience(answer: Answer, pause: float) -> float:
    """How long to wait where the edge asks for patience. Raises `PostFailed` for any other answer."""
    if answer.status in BUSY:
        return answer.retry_after_seconds or pause
    try:
        problem = codec.from_json(answer.body, Problem)
    except msgspec.MsgspecError:
        raise PostFailed(f"The ingest edge answered {answer.status} without a reason. Is that address right?") from None
    if problem.type == PROBLEM_TYPE_BASE + KEY_UNKNOWN.name:
        return pause  # a worker has not yet followed the control stream to this device's key
    raise PostFailed(f"The ingest edge answered {answer.status}: {problem.title}. {problem.detail} {problem.action}")
