"""One uvicorn server in a process that `Life` starts and stops."""

import asyncio
import contextlib
import functools
import gc
import logging
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, cast

import uvicorn
import uvloop

from app.open_files import allow_open_files
from app.processes.connection import BoundedConnection, ConnectionLimits, Crowd, without_strangers_mistakes
from app.processes.life import Life

BACKLOG_CONNECTIONS: Final = 4_096
KEEP_ALIVE_SECONDS: Final = 75
STOP_REQUESTS_SECONDS: Final = 10
GC_ALLOCATIONS: Final = 50_000
"""The garbage collector's pace: more objects than requests in flight hold, which it would look through in vain."""


class Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals to `Life`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def run(coroutine: Callable[[], Awaitable[None]]) -> None:
    """Run the process's event loop to its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_awaited(coroutine))


def config(app: Any, crowd: Crowd) -> uvicorn.Config:
    """How uvicorn serves here: connections within their limits, no say in logs and headers."""
    return uvicorn.Config(
        app,
        http=cast(Any, functools.partial(BoundedConnection, crowd)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_REQUESTS_SECONDS,
    )


async def serve(app: Any, listener: socket.socket, life: Life) -> None:
    """Serve an ASGI app until the process stops; in-flight requests are answered first."""
    allow_open_files()
    logging.getLogger("uvicorn.error").addFilter(without_strangers_mistakes)
    crowd = Crowd(ConnectionLimits())
    server = Server(config(app, crowd))

    def stop() -> None:
        server.should_exit = True

    life.on_stop(stop)
    # In every process that serves: what was built until now stays, and what is made later is hardly ever a cycle.
    # Neither is worth looking through again and again. Garbage goes first, since what is frozen is never collected.
    gc.collect()
    gc.freeze()
    gc.set_threshold(max(GC_ALLOCATIONS, gc.get_threshold()[0]), *gc.get_threshold()[1:])
    watching = asyncio.create_task(crowd.watch())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn offers a flag, no event
        await asyncio.sleep(0.01)
    if server.started:
        life.ready()
    try:
        await serving
    finally:
        watching.cancel()


async def _awaited(coroutine: Callable[[], Awaitable[None]]) -> None:
    await coroutine()
