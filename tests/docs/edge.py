"""The ingest edge as a scanner meets it: under uvicorn on loopback, with a real stream behind it."""

import asyncio
import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import cast

import redis
import redis.asyncio
import uvicorn

from events import codec
from events.scans import LOG_ROW, Entry
from ingest.limits import EdgeLimits
from ingest.receive import ScanEdge
from keys.codes import CodeOpener
from storage.partitions import ONLY
from storage.publish import Publisher
from tests.ingest.scene import SECRETS, Scene

START_SECONDS_MAX = 30.0
STREAM_BYTES_MAX = 10_000_000


@contextlib.contextmanager
def serving(scene: Scene, redis_url: str, listener: socket.socket, *, now_ms: int | None = None) -> Iterator[None]:
    """Serve the scene's registries on a bound socket. `now_ms` stops the edge's clock."""
    client = redis.asyncio.Redis.from_url(redis_url)
    edge = ScanEdge(
        keyring=scene.keyring,
        places=scene.places,
        secrets=SECRETS,
        opener=CodeOpener(SECRETS),
        publisher=Publisher([client], bytes_max=STREAM_BYTES_MAX),
        clock_ms=lambda: time.time_ns() // 1_000_000 if now_ms is None else now_ms,
        random=secrets.token_bytes,
        limits=EdgeLimits(),
    )
    server = uvicorn.Server(uvicorn.Config(edge, lifespan="off", log_config=None, access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server, listener, client)))
    thread.start()
    deadline = time.monotonic() + START_SECONDS_MAX
    while not server.started:
        if time.monotonic() > deadline:
            raise RuntimeError("the edge does not start")
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


async def _serve(server: uvicorn.Server, listener: socket.socket, client: "redis.asyncio.Redis") -> None:
    await server.serve(sockets=[listener])
    await client.aclose()


def bound() -> socket.socket:
    """A loopback socket, not listening yet: connections are refused until somebody serves."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


def published(client: "redis.Redis") -> list[tuple[int, bytes, int]]:
    """Every accepted scan in the stream, in its order: seq, subject, kind."""
    stream = cast(list[tuple[bytes, dict[bytes, bytes]]], client.xrange(ONLY.scans))
    entries = [codec.entry_from_msgpack(fields[b"e"]) for _, fields in stream]
    assert all(isinstance(entry, Entry) for entry in entries)
    return [(row[2], row[6], row[7]) for entry in entries for row in LOG_ROW.iter_unpack(entry.rows)]
