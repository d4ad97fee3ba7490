"""Waiting until replicas have on disk, too, what was written to the stream's server.

A failover makes a replica the server. What only the old one had is gone then, so whatever must never be lost or taken
back is confirmed first. Replication keeps the order of writes: what is confirmed has all that was written before it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import redis
import redis.asyncio

CONFIRM_MS_MAX: Final = 2_000
"""How long replicas may take; less than a client waits for an answer."""
ASK_MS: Final = 5
"""Where a replica reads the question together with what was written, it answers before that is on its disk, and again
only after a second. Asked anew it answers at once, so the first questions wait little."""

Command = Sequence[Any]


class Unconfirmed(redis.ConnectionError):
    """Too few replicas have it; the server may be cut off from the others, and no longer be theirs."""

    def __init__(self, found: int, wanted: int) -> None:
        super().__init__(f"{found} of {wanted} replicas have it on disk")


def confirmed(client: "redis.Redis", replicas: int, commands: Sequence[Command]) -> list[Any]:
    """The server's answers, once so many replicas have on disk what the commands wrote. Raises `redis.RedisError`.

    All on one connection, because the server knows by it what was written.
    """
    connection: Any = client.connection_pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        answers = [connection.read_response() for _ in commands]
        for milliseconds in _waits():
            connection.send_command("WAITAOF", 1, replicas, milliseconds, check_health=False)
            found = connection.read_response()[1]
            if found >= replicas:
                return answers
        raise Unconfirmed(found, replicas)
    except BaseException:
        # Half of its answers may be on their way still; and whoever connects asks anew who has the keys.
        connection.disconnect()
        raise
    finally:
        client.connection_pool.release(connection)


async def confirmed_async(client: "redis.asyncio.Redis", replicas: int, commands: Sequence[Command]) -> list[Any]:
    """The same for an event loop."""
    pool: Any = client.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        answers = [await connection.read_response() for _ in commands]
        for milliseconds in _waits():
            await connection.send_command("WAITAOF", 1, replicas, milliseconds, check_health=False)
            found = (await connection.read_response())[1]
            if found >= replicas:
                return answers
        raise Unconfirmed(found, replicas)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


def _waits() -> Iterator[int]:
    """Milliseconds for each question in turn, twice as long every time."""
    waited, wait = 0, ASK_MS
    while waited < CONFIRM_MS_MAX:
        yield wait
        waited, wait = waited + wait, 2 * wait
