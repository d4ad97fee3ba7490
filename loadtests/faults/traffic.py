"""Scanners that post batch after batch, as scanners do: the next one only when the edge has answered for the last."""

import asyncio
import os
import random
import time
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.clock import DAY_MS, now_ms
from app.simulate.edge import Answer, ConnectionGone, EdgeConnection
from events import codec
from events.control import ControlEvent, PlaceRegistered
from events.devices import Device
from events.places import Place
from events.problems import KEY_UNKNOWN, Problem
from events.scans import SCANS_PATH, Kind, Receipt, Refusal, Scan, ScanBatch
from keys.codes import CODE_NONCE_BYTES, issue_person_code
from keys.enrolment import FIRST_KEY, enrolled
from keys.http_signatures import sign_request
from loadtests.faults.ledger import Batch, Ledger, Sent
from loadtests.faults.system import System
from storage.control import ControlLog

SCANNERS: Final = 4
PEOPLE: Final = 50
BATCH_SCANS_MAX: Final = 12
REFUSED_SHARE: Final = 0.05
"""Of the scans: they name nobody, and must be turned away."""
SIGN_ANEW_SHARE: Final = 0.3
"""Of the attempts after the first: the batch comes as a new delivery, where the others are exact replays."""
ANSWER_SECONDS_MAX: Final = 2.0
RETRY_SECONDS: Final = 0.03
REST_SECONDS: Final = 0.02
"""Between two batches of a scanner: the campaign is about what is in flight, not about how much."""
HOUR_MS: Final = 3_600_000
TAKEN: Final = frozenset({200, 202})
BUSY: Final = frozenset({429, 503})
CONTENT_TYPE: Final = "application/msgpack"


class WrongAnswer(Exception):
    """The edge said something that it must never say; the message has it."""


class Person(msgspec.Struct, frozen=True):
    """Somebody with a personal code."""

    subject: bytes
    code: str


class Scanner:
    """One device: what it has sent, it sends until the edge answers for it."""

    def __init__(
        self, device: Device, place: int, *, people: list[Person], door: str, ledger: Ledger, seed: str
    ) -> None:
        """At the place of this number, sending to `door`. What it scans is drawn from the seed."""
        self.device: Final = device
        self.key: Final = Ed25519PrivateKey.generate()
        self._place: Final = place
        self._people: Final = people
        self._ledger: Final = ledger
        self._chance: Final = random.Random(seed)
        self._connection: Final = EdgeConnection(door)
        self._next = 1

    async def deliver_next(self) -> None:
        """Scan some people, and return when the edge has answered for them. Raises `WrongAnswer`."""
        batch = self._scanned()
        headers = self._signed(batch)
        while True:
            self._ledger.attempts += 1
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    answer = await self._connection.post(SCANS_PATH, headers, batch.body)
            except (ConnectionGone, TimeoutError):
                self._connection.close()
            else:
                if answer.status in TAKEN:
                    self._acknowledge(batch, codec.from_json(answer.body, Receipt))
                    return
                _check_patience(answer)
            await asyncio.sleep(RETRY_SECONDS)
            if self._chance.random() < SIGN_ANEW_SHARE:
                headers = self._signed(batch)

    def close(self) -> None:
        """Close its connection."""
        self._connection.close()

    def _scanned(self) -> Batch:
        now, first = now_ms(), self._next
        scans: list[Scan] = []
        sent: list[Sent] = []
        for seq in range(first, first + self._chance.randint(1, BATCH_SCANS_MAX)):
            person, kind = self._chance.choice(self._people), self._chance.choice(list(Kind))
            at = now - self._chance.randint(0, HOUR_MS)
            refused = self._chance.random() < REFUSED_SHARE
            scans.append(Scan(seq, at, kind, code=None if refused else person.code))
            refusal = Refusal.SUBJECT_MISSING if refused else None
            sent.append(Sent(at, self._place, person.subject, kind, refusal))
        self._next += len(scans)
        batch = Batch(self.device.number, first, self._next - 1, codec.to_msgpack(ScanBatch(scans)))
        self._ledger.send(batch, sent)
        return batch

    def _signed(self, batch: Batch) -> dict[str, str]:
        return sign_request(
            self.key,
            f"{self.device.id}.{FIRST_KEY}",
            method="POST",
            path=SCANS_PATH,
            content_type=CONTENT_TYPE,
            body=batch.body,
            created=int(time.time()),
        )

    def _acknowledge(self, batch: Batch, receipt: Receipt) -> None:
        if (receipt.next_seq, receipt.seen_to) != (batch.last + 1, batch.last):
            raise WrongAnswer(
                f"device {batch.device} sent its scans to {batch.last}, and the receipt says: next {receipt.next_seq},"
                f" seen to {receipt.seen_to}"
            )
        self._ledger.acknowledge(batch, receipt.batch)


class Traffic:
    """All scanners; flows while `open`. For one event loop."""

    def __init__(self, scanners: list[Scanner]) -> None:
        self._scanners: Final = scanners
        self._open: Final = asyncio.Event()
        self._resting = len(scanners)
        self._rested: Final = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """The scanners wait until traffic may flow."""
        self._tasks = [asyncio.create_task(self._run(scanner)) for scanner in self._scanners]

    async def flow(self) -> None:
        """Let them send."""
        self._open.set()

    async def rest(self, seconds_max: float) -> None:
        """Return when every batch is answered for. Raises `TimeoutError`, and what a scanner has raised."""
        self._open.clear()
        async with asyncio.timeout(seconds_max), self._rested:
            await self._rested.wait_for(lambda: self._resting == len(self._scanners) or self._failed())
        self.check()

    def check(self) -> None:
        """Raise what a scanner has raised."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for scanner in self._scanners:
            scanner.close()

    def _failed(self) -> bool:
        return any(task.done() for task in self._tasks)

    async def _run(self, scanner: Scanner) -> None:
        try:
            while True:
                await self._open.wait()
                await self._move(-1)
                while self._open.is_set():
                    await scanner.deliver_next()
                    await asyncio.sleep(REST_SECONDS)
                await self._move(1)
        finally:
            async with self._rested:
                self._rested.notify_all()

    async def _move(self, change: int) -> None:
        async with self._rested:
            self._resting += change
            self._rested.notify_all()


def enrolled_scanners(system: System, ledger: Ledger, seed: str) -> list[Scanner]:
    """Scanners at places of their own, all known to the system."""
    people = [_person(system) for _ in range(PEOPLE)]
    scanners = []
    client = system.redis()
    control = ControlLog(client)
    for number in range(SCANNERS):
        name = f"gate-{number}"
        place = Place(id=name, number=control.next_number("place"), name=name)
        device = Device(id=name, number=control.next_number("device"), place=name)
        scanner = Scanner(device, place.number, people=people, door=system.door, ledger=ledger, seed=f"{seed}:{name}")
        events: list[ControlEvent] = [PlaceRegistered(place)]
        events += enrolled(device, scanner.key.public_key().public_bytes_raw(), now_ms=0)
        control.append_all(events)
        scanners.append(scanner)
    client.close()
    return scanners


def _person(system: System) -> Person:
    now, subject = now_ms(), os.urandom(16)
    code = issue_person_code(
        system.secrets,
        subject,
        vehicle=False,
        issued=now - DAY_MS,
        expires=now + DAY_MS,
        nonce=os.urandom(CODE_NONCE_BYTES),
    )
    return Person(subject, code)


def _check_patience(answer: Answer) -> None:
    """Raise `WrongAnswer` unless the edge asks to come again: it is busy, or has not heard of the device yet."""
    if answer.status in BUSY:
        return
    try:
        problem = codec.from_json(answer.body, Problem).name
    except msgspec.MsgspecError:
        problem = "no problem document"
    if problem != KEY_UNKNOWN.name:
        raise WrongAnswer(f"{answer.status}: {problem}")
