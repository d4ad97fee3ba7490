"""TCP addresses: bound for a server, or found to be taken, with what to do."""

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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
