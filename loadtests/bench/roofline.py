"""What one signed request of one scan cannot do without, each part measured alone on this machine.

`1 / (t_empty + t_verify + t_xadd)` is the rate of a service that did only these three, one after the other. Each time
is 1 ÷ the rate of the whole machine at it, with as many worker processes as the service has.
"""

import contextlib
import math
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.ports import free_port
from app.processes.life import READY
from loadtests.bench import empty_server
from loadtests.bench.bodies import Request
from loadtests.bench.client import LoadFailed, run_load
from loadtests.bench.session import Session
from storage.valkey import EmbeddedValkey

CONNECTIONS: Final = 64
EMPTY_PER_SECOND_MAX: Final = 100_000
SIGNED_BYTES: Final = 300
"""About what the signature base of a request has."""
READY_SECONDS_MAX: Final = 20.0
STOP_SECONDS_MAX: Final = 15.0
ANSWER_SECONDS_MAX: Final = 5.0
READ_BYTES: Final = 4_096
STREAM: Final = b"baseline"


class Roofline(msgspec.Struct, frozen=True):
    """Rates per second of the whole machine, and what they come to together."""

    empty_handlers: float
    verifications: float
    durable_xadds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return 1 / (1 / self.empty_handlers + 1 / self.verifications + 1 / self.durable_xadds)


def roofline(session: Session, requests: list[Request], entry_bytes: int) -> Roofline:
    """Measure the three parts. `requests` are what the empty handler gets, `entry_bytes` what an entry has."""
    sizes = session.sizes
    session.say(f"the roofline's parts, {sizes.baseline_seconds:g} s each")
    return Roofline(
        empty_handlers(requests, sizes.workers, sizes.baseline_seconds),
        verifications(sizes.workers, sizes.baseline_seconds),
        durable_xadds(session, os.urandom(entry_bytes), sizes.baseline_seconds),
    )


def empty_handlers(requests: list[Request], workers: int, seconds: float) -> float:
    """Requests a second through the service's HTTP server with nothing behind it. They are sent again and again."""
    port = free_port()
    with contextlib.ExitStack() as exits:
        for _ in range(workers):
            exits.enter_context(_empty_server(port))
        again = math.ceil(EMPTY_PER_SECOND_MAX * seconds / len(requests))
        outcome = run_load(
            (empty_server.HOST, port), requests * again, connections=CONNECTIONS, seconds=seconds, receipts=False
        )
        if outcome.faults:
            raise LoadFailed(f"The empty handler answered {outcome.faults[0]}.")
        return len(outcome.acknowledged) / outcome.seconds


@contextlib.contextmanager
def _empty_server(port: int) -> Iterator[None]:
    """A worker of the empty handler on this port, ready within."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", empty_server.__name__, str(port), "--supervisor-fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            ours.settimeout(READY_SECONDS_MAX)
            if not ours.recv(len(READY)):
                raise LoadFailed("The empty handler did not start; its lines are above.")
            yield
        finally:
            process.terminate()
            process.wait(STOP_SECONDS_MAX)


def verifications(workers: int, seconds: float) -> float:
    """Ed25519 signatures verified a second, by that many processes at once."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return sum(pool.map(_verified, [seconds] * workers))


def _verified(seconds: float) -> float:
    key, message = Ed25519PrivateKey.generate(), os.urandom(SIGNED_BYTES)
    public, signature = key.public_key(), key.sign(message)
    began, count = time.monotonic(), 0
    while (took := time.monotonic() - began) < seconds:
        public.verify(signature, message)
        count += 1
    return count / took


def durable_xadds(session: Session, payload: bytes, seconds: float) -> float:
    """Entries a second into the bundled server, over as many connections as the load has, one at a time on each."""
    server = EmbeddedValkey(session.directory("xadd"), port=free_port())
    server.start()
    try:
        return _xadds(server.port, payload, seconds)
    finally:
        server.stop()


def _xadds(port: int, payload: bytes, seconds: float) -> float:
    command = b"*5\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$1\r\ne\r\n$%d\r\n%b\r\n" % (
        *(len(STREAM), STREAM),
        *(len(payload), payload),
    )
    with contextlib.ExitStack() as exits:
        poll = exits.enter_context(contextlib.closing(select.epoll()))
        socks = {}
        for _ in range(CONNECTIONS):
            sock = exits.enter_context(socket.create_connection((empty_server.HOST, port), ANSWER_SECONDS_MAX))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            poll.register(sock, select.EPOLLIN)
            socks[sock.fileno()] = sock
            sock.sendall(command)
        began, count = time.monotonic(), 0
        while (took := time.monotonic() - began) < seconds:
            for fd, _ in poll.poll(ANSWER_SECONDS_MAX):
                if not socks[fd].recv(READ_BYTES).startswith(b"$"):
                    raise LoadFailed("The stream's server refused an XADD.")
                count += 1
                socks[fd].sendall(command)
        return count / took
