"""TCP addresses: bound for a server, or found to be taken, with what to do."""

import contextlib
import socket
import time
from typing import Final

from app.errors import Explained

RETRY_SECONDS: Final = 0.1


class AddressTaken(Explained):
    """The address cannot be bound; the message says which and what to do."""


def bound(host: str, port: int, *, shared: bool) -> socket.socket:
    """A bound TCP socket; `shared` lets the other workers of this service bind the same port (SO_REUSEPORT).

    Raises `AddressTaken`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise AddressTaken(
            f"{host}:{port} cannot be bound ({error.strerror}). Stop what listens there, or set another port:"
            " `truyvet settings` names the variables."
        ) from None
    return listener


def await_free(host: str, port: int, *, seconds: float) -> None:
    """Return once nobody listens on the address; a process that is just ending gets some time.

    Raises `AddressTaken`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            bound(host, port, shared=False).close()
        except AddressTaken:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """So many loopback ports that nobody listens on at the moment; distinct, because all are held until the last."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def on_free_ports() -> dict[str, str]:
    """The settings that put a whole service on free ports of loopback."""
    ingest, trace, valkey = free_ports(3)
    return {
        "TRUYVET_INGEST_PORT": str(ingest),
        "TRUYVET_TRACE_PORT": str(trace),
        "TRUYVET_VALKEY_PORT": str(valkey),
    }
