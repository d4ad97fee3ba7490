"""Lets the audit read an embedded store, which one process alone may open: that process answers for it."""

import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Final, Protocol, cast

from storage.clickhouse import Row, Store
from storage.errors import StoreDown

LOOPBACK: Final = "127.0.0.1"


class Reads(Protocol):
    """Where rows can be read: a store, or a way to one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """All rows of a SELECT. Raises `StoreDown`."""

    def close(self) -> None:
        """Let go of it."""


class RemoteReads:
    """The way to a store that another process answers for; for one thread."""

    def __init__(self, port: int) -> None:
        self._port: Final = port
        self._line: Connection | None = None

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        try:
            if self._line is None:
                self._line = Client((LOOPBACK, self._port))
            self._line.send((sql, parameters))
            answer = self._line.recv()
        except (OSError, EOFError) as error:
            self.close()
            raise StoreDown(type(error).__name__) from error
        if isinstance(answer, StoreDown):
            raise answer
        return cast(Sequence[Row], answer)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def serve_reads(store: Store, port: int) -> None:
    """Answer at the port, one reader after the other, in a thread that ends with the process."""
    listener = Listener((LOOPBACK, port))
    threading.Thread(target=_serve, args=(store, listener), name="reads", daemon=True).start()


def _serve(store: Store, listener: Listener) -> None:
    while True:
        with listener.accept() as line:
            try:
                while True:
                    line.send(_answer(store, *line.recv()))
            except (OSError, EOFError):
                continue


def _answer(store: Store, sql: str, parameters: Mapping[str, Any] | None) -> list[Row] | StoreDown:
    try:
        return list(store.rows(sql, parameters))
    except StoreDown as error:
        return StoreDown(str(error))
