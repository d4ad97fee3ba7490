"""The service's own HTTP server with nothing behind it: reads a request, answers as the edge would. A baseline."""

import argparse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from app.ports import bound
from app.processes import http
from app.processes.life import Life
from events import codec
from events.scans import Receipt

HOST: Final = "127.0.0.1"
STOP_SECONDS_MAX: Final = 10.0
BODY: Final = codec.to_json(
    Receipt(batch="1600000000000-0", accepted=1, duplicate=0, refused=0, next_seq=2, seen_to=1, verdicts=[])
)
START: Final = {
    "type": "http.response.start",
    "status": 202,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def empty(scope: Message, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    while (await receive()).get("more_body", False):
        pass
    await send(START)
    await send({"type": "http.response.body", "body": BODY})


async def _lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


def main() -> None:
    """Serve on the port, shared with the other workers, until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--supervisor-fd", type=int)
    arguments = parser.parse_args()
    life = Life(supervisor_fd=arguments.supervisor_fd, stop_wait_seconds=STOP_SECONDS_MAX)
    listener = bound(HOST, arguments.port, shared=True)
    http.run(lambda: http.serve(empty, listener, life))


if __name__ == "__main__":
    main()
