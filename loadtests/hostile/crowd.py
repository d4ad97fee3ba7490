"""A thousand connections that do nothing, or next to nothing, and what they cost those that work.

The crowd is a process of its own, so that it takes none of the measuring client's time.
"""

import asyncio
import contextlib
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from app.open_files import allow_open_files
from loadtests.hostile.attack import ACCEPTED, Signed
from loadtests.hostile.signing import HOST, PATH
from loadtests.hostile.wire import Lane

CONNECTIONS: Final = 1_000
NOBODY: Final = "nobody"
IDLE: Final = "idle"
SLOW: Final = "slow"
DRIP_SECONDS: Final = 1.0
READY_SECONDS_MAX: Final = 60.0
LANES: Final = 32
CROWD_SECONDS_MAX: Final = 600.0
"""A crowd whose maker died goes by itself after this."""

HEAD: Final = f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\n".encode()
BODY_HEAD: Final = HEAD + b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"


class CrowdFailed(Exception):
    """The crowd could not connect, or honest requests were not taken."""


@contextlib.contextmanager
def crowd(host: str, port: int, kind: str, connections: int = CONNECTIONS) -> Iterator[None]:
    """So many connections of a kind (`idle` or `slow`; `nobody`: none) in the context. Raises `CrowdFailed`."""
    if kind == NOBODY:
        yield
        return
    command = [sys.executable, "-m", "loadtests.hostile.crowd", host, str(port), kind, str(connections)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != b"ready\n":
            raise CrowdFailed(f"{connections} {kind} connections could not be made")
        yield
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def honest_rate(host: str, port: int, good: Callable[[], Signed], requests: int) -> tuple[float, list[Signed]]:
    """Honest requests a second, all of which must be taken, and what was acknowledged. Raises `CrowdFailed`.

    They are signed beforehand, and sent one after the other on each of some connections at once.
    """
    signed = [good() for _ in range(requests)]
    shares = [signed[first::LANES] for first in range(LANES)]
    with ThreadPoolExecutor(LANES, thread_name_prefix="honest") as threads:
        began = time.perf_counter()
        for statuses in threads.map(lambda share: _sent(host, port, share), shares):
            if statuses != {ACCEPTED}:
                raise CrowdFailed(f"honest requests were answered with {sorted(statuses)}")
        return requests / (time.perf_counter() - began), signed


def _sent(host: str, port: int, share: list[Signed]) -> set[int]:
    """The statuses that a connection's share of requests is answered with."""
    with Lane(host, port) as lane:
        return {lane.exchange([each.wire.raw()])[0].status for each in share}


async def _stand(host: str, port: int, kind: str, connections: int) -> None:
    chance = random.Random(kind)
    ready = asyncio.Semaphore(0)
    standing = [
        asyncio.create_task(_idle(host, port, ready) if kind == IDLE else _slow(host, port, chance, ready))
        for _ in range(connections)
    ]
    for _ in range(connections):
        await asyncio.wait_for(ready.acquire(), READY_SECONDS_MAX)
    print("ready", flush=True)
    await asyncio.wait(standing, timeout=CROWD_SECONDS_MAX)


async def _idle(host: str, port: int, ready: asyncio.Semaphore) -> None:
    """Connects, says nothing, and comes again when it is dropped."""
    announced = False
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            if not announced:
                ready.release()
                announced = True
            await reader.read()
            writer.close()


async def _slow(host: str, port: int, chance: random.Random, ready: asyncio.Semaphore) -> None:
    """Sends a head or a body, a byte now and then, and comes again when it is dropped."""
    announced = False
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(chance.choice((HEAD, BODY_HEAD)))
            if not announced:
                ready.release()
                announced = True
            while not reader.at_eof():
                await asyncio.sleep(DRIP_SECONDS * (0.5 + chance.random()))
                writer.write(b"a")
                await writer.drain()
            writer.close()


def main() -> None:
    """Be a crowd until told to go."""
    host, port, kind, connections = sys.argv[1:]
    allow_open_files()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < int(connections) + 64:
        sys.exit("too few open files are allowed")
    asyncio.run(_stand(host, int(port), kind, int(connections)))


if __name__ == "__main__":
    main()
