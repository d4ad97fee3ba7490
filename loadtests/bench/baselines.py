"""What the parts can do on this machine, measured in the same run as what is built from them."""

import contextlib
import functools
import time
from typing import Final

import numpy as np
import redis

from app.ports import free_port
from loadtests.bench.bodies import to_msgpack
from loadtests.bench.codes import CODE_CHARS
from loadtests.bench.session import Session
from loadtests.bench.world import seqs
from storage.valkey import EmbeddedValkey

PIPELINE_DEPTH: Final = 100
STREAM: Final = "baseline"
PIPELINED_XADD: Final = "redis-py XADD, a scan an entry, depth 100"


@functools.cache
def pipelined_xadd(session: Session) -> float:
    """Entries a second that redis-py appends with one scan in each, in pipelines of 100, each on disk when answered.

    The server is the bundled one as the service runs it, alone on the machine; an entry is the scan as a device
    encodes it. Measured once a session.
    """
    session.say("baseline: redis-py's pipelined XADD")
    payload = one_scan(session)
    server = EmbeddedValkey(session.directory("baseline"), port=free_port())
    server.start()
    try:
        with contextlib.closing(redis.Redis.from_url(server.url)) as client:
            began, entries = time.monotonic(), 0
            while (took := time.monotonic() - began) < session.sizes.baseline_seconds:
                pipeline = client.pipeline(transaction=False)
                for _ in range(PIPELINE_DEPTH):
                    pipeline.xadd(STREAM, {b"e": payload})
                entries += len(pipeline.execute())
            return entries / took
    finally:
        server.stop()


def one_scan(session: Session) -> bytes:
    """A scan of the world in MessagePack."""
    population = session.population
    codes = np.frombuffer(population.codes, np.uint8).reshape(-1, CODE_CHARS)
    return to_msgpack(population.world.scans(0, seqs(1, 1)), codes)
