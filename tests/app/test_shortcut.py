"""What goes past the framework, and what does not."""

import asyncio
from typing import Any

import pytest

from app.processes.shortcut import Shortcut

HOST = (b"host", b"scans.example:8000")


def taken_by(scope: dict[str, Any]) -> str:
    """Which of the two applications serves a scope."""
    served: list[str] = []

    def application(name: str) -> Any:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            served.append(name)

        return serve

    shortcut = Shortcut("/v1/scans", application("direct"), application("framework"))
    asyncio.run(shortcut(scope, None, None))
    (name,) = served
    return name


@pytest.mark.parametrize("host", [b"127.0.0.1:8000", b"localhost", b"scans.example", b"SCANS.example:443"])
def test_the_path_itself(host: bytes) -> None:
    scope = {"type": "http", "path": "/v1/scans", "headers": [(b"accept", b"*/*"), (b"host", host)]}
    assert taken_by(scope) == "direct"


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "lifespan"},
        {"type": "websocket", "path": "/v1/scans", "headers": [HOST]},
        {"type": "http", "path": "/readyz", "headers": [HOST]},
        {"type": "http", "path": "/v1/scans/", "headers": [HOST]},
        {"type": "http", "path": "/v1/scans", "headers": []},
        {"type": "http", "path": "/v1/scans", "headers": [HOST, HOST]},
        {"type": "http", "path": "/v1/scans", "headers": [(b"host", b"a b")]},
        {"type": "http", "path": "/v1/scans", "headers": [(b"host", b"[::1]:8000")]},
        {"type": "http", "path": "/v1/scans", "headers": [(b"host", b"a\n")]},
    ],
)
def test_all_else_goes_the_whole_way(scope: dict[str, Any]) -> None:
    assert taken_by(scope) == "framework"
