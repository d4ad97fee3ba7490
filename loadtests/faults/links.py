"""TCP connections that can be broken in the ways that networks break them. Everything is on loopback.

The ways: `cut` resets every connection and refuses new ones. `stall` carries nothing, and what was sent arrives when
it heals. `deaf` carries what is sent, and resets the connection instead of carrying the answer. `late` resets the
sender's side at once and delivers what it had sent when the link heals, when the sender has long given up. `half`
tells the server that nothing more will be sent, on every connection that is open.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from loadtests.faults.reads import LOOPBACK
from loadtests.faults.schedule import Way

CHUNK_BYTES: Final = 1 << 16

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own; a context manager."""

    def __init__(self) -> None:
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)

    def __enter__(self) -> "LoopThread":
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.run(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, awaited from outside of the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @staticmethod
    async def _end_tasks() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Link:
    """A port that leads to another port, as long as it is not broken. For one event loop."""

    def __init__(self) -> None:
        self.port = 0
        self._target = 0
        self._way: Way | None = None
        self._healed: Final = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: Final[set[_Connection]] = set()

    async def open(self, target: int) -> None:
        """Listen on a free port, and lead to loopback `target` from now on."""
        self._target = target
        self._healed.set()
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and end every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.reset()

    async def break_(self, way: Way) -> None:
        """Break it, until it is healed."""
        self._way = way
        if way == "half":
            for connection in list(self._connections):
                connection.end_sending()
            self._way = None
            return
        self._healed.clear()
        for connection in list(self._connections):
            if way == "cut":
                connection.reset()
            elif way == "late":
                connection.reset_sender()

    async def heal(self) -> None:
        """Carry everything again, what waited first."""
        self._way = None
        self._healed.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut():
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            _reset(writer)
            return
        connection = _Connection(writer, far_writer)
        if self._is_cut():
            connection.reset()
            return
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._carry_there(reader, connection),
                self._carry_back(far_reader, connection),
                return_exceptions=True,
            )
        finally:
            self._connections.discard(connection)
            connection.reset()

    def _is_cut(self) -> bool:
        return self._way == "cut"

    async def _carry_there(self, reader: asyncio.StreamReader, connection: "_Connection") -> None:
        """What the sender says. Ends with an end of file for the server, where the sender said one."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._way == "late":
                    connection.reset_sender()
                if self._way in ("stall", "late"):
                    await self._healed.wait()
                connection.there.write(data)
                await connection.there.drain()
        connection.end_sending()

    async def _carry_back(self, reader: asyncio.StreamReader, connection: "_Connection") -> None:
        """What the server answers; nobody hears it where the sender's side is broken."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._way == "deaf":
                    break
                if self._way in ("stall", "late"):
                    await self._healed.wait()
                if not connection.back.is_closing():
                    connection.back.write(data)
                    await connection.back.drain()
        connection.reset()


class _Connection:
    """Both halves of one connection: `there` leads to the server, `back` to the sender."""

    def __init__(self, back: asyncio.StreamWriter, there: asyncio.StreamWriter) -> None:
        self.back: Final = back
        self.there: Final = there

    def end_sending(self) -> None:
        """The server reads an end of file, and may still answer."""
        with contextlib.suppress(OSError):
            if not self.there.is_closing():
                self.there.write_eof()

    def reset_sender(self) -> None:
        """The sender's side breaks; the server's side stays."""
        _reset(self.back)

    def reset(self) -> None:
        """Both sides break at once."""
        _reset(self.back)
        _reset(self.there)


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
