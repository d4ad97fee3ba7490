"""Clients of whichever server of a cluster has a key, now and after a failover.

A client here is bound to one slot, and all keys that are used together share one, so that pipelines, scripts and
blocking reads work as on a server of its own. Every new connection asks the cluster who has the slot; a connection
that learns that its server no longer has it is closed, and what was asked on it is asked again or reported as a
server that is away.
"""

import random
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import redis
import redis.asyncio
from redis.asyncio.connection import Connection as AsyncPlainConnection
from redis.asyncio.connection import SSLConnection as AsyncTlsConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection as PlainConnection
from redis.connection import SSLConnection as TlsConnection
from redis.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ConnectionError, ReadOnlyError, TryAgainError
from redis.retry import Retry

from storage.addresses import Address

LOOKUP_SECONDS: Final = (0.2, 1.0)
"""How long one node may take to say who has a slot before another is asked; and how long once none has said it. A few
that are silent must not cost a partition whose server is there as long as `storage.backlog.ANSWER_SECONDS_MAX`.
"""

Range = tuple[int, int, list[Any]]
"""A row of CLUSTER SLOTS: first slot, last slot, then its primary as [host, port, …]; replicas come after it."""

_MOVED: Final = (AskError, ClusterDownError, ReadOnlyError, TryAgainError)
"""What a server says that does not have the slot (any more, or for now)."""


class ClusterNodes:
    """The nodes of a cluster, by the addresses that were given and those that they tell of. Thread-safe."""

    def __init__(self, url: str, others: Iterable[Address]) -> None:
        """`url` is one node's, with the name, password and TLS that hold for all; `others` are further ones."""
        self._options: Final[dict[str, Any]] = parse_url(url)  # type: ignore[no-untyped-call]
        first = (self._options.pop("host", "localhost"), self._options.pop("port", 6379))
        self._tls: Final = self._options.pop("connection_class", None) is TlsConnection
        self._known: Final[set[Address]] = {first, *others}
        self._silent: Final[set[Address]] = set()

    def client(self, key: str, **options: Any) -> redis.Redis:
        """A thread-safe client of the server that has the key, and of nothing that lies in another slot."""
        pool = redis.ConnectionPool(
            connection_class=SlotTlsConnection if self._tls else SlotConnection,
            nodes=self,
            slot=key_slot(key.encode()),
            **self._options,
            **options,
        )
        return redis.Redis.from_pool(pool)

    def async_client(self, key: str, **options: Any) -> "redis.asyncio.Redis":
        """The same for an event loop."""
        pool = redis.asyncio.ConnectionPool(
            connection_class=AsyncSlotTlsConnection if self._tls else AsyncSlotConnection,
            nodes=self,
            slot=key_slot(key.encode()),
            **self._options,
            **options,
        )
        return redis.asyncio.Redis.from_pool(pool)

    def primary(self, slot: int) -> Address:
        """Where the slot's primary is, by the first node that answers. Raises `redis.ConnectionError`."""
        for node, seconds in self._in_turn():
            try:
                with redis.Redis(**self._question(node, seconds), retry=Retry(NoBackoff(), 0)) as client:
                    return self._learned(client.execute_command("CLUSTER SLOTS"), node, slot)
            except redis.RedisError:
                self._silent.add(node)
        self._unanswered()

    async def async_primary(self, slot: int) -> Address:
        """The same for an event loop."""
        for node, seconds in self._in_turn():
            question = self._question(node, seconds)
            try:
                async with redis.asyncio.Redis(**question, retry=AsyncRetry(NoBackoff(), 0)) as client:
                    return self._learned(await client.execute_command("CLUSTER SLOTS"), node, slot)  # type: ignore[no-untyped-call]
            except redis.RedisError:
                self._silent.add(node)
        self._unanswered()

    def _in_turn(self) -> list[tuple[Address, float]]:
        """Whom to ask, and for how many seconds: in any order, since a node that is cut off from the others may tell
        of a cluster that is no more; those that did not answer come last.
        """
        nodes = sorted(self._known, key=lambda node: (node in self._silent, random.random()))  # noqa: S311
        return [(node, seconds) for seconds in LOOKUP_SECONDS for node in nodes]

    def _question(self, node: Address, seconds: float) -> dict[str, Any]:
        """The options of a client that asks this node and waits no longer."""
        host, port = node
        waits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        return {**self._options, **waits, "host": host, "port": port, "ssl": self._tls}

    def _learned(self, ranges: list[Range], node: Address, slot: int) -> Address:
        """The slot's primary; remembers every node that the answer names."""
        self._silent.discard(node)
        found: Address | None = None
        for first, last, *servers in ranges:
            addresses = [(server[0].decode() if server[0] else node[0], int(server[1])) for server in servers]
            self._known.update(addresses)
            if first <= slot <= last:
                found = addresses[0]
        if found is None:
            raise ClusterDownError(f"slot {slot} is not served")
        return found

    def _unanswered(self) -> NoReturn:
        raise ConnectionError(f"none of the cluster's {len(self._known)} nodes says who has the slot")


class _SlotConnection:
    """For a connection class of redis-py: connects to the slot's primary, and leaves a server that is it no longer."""

    def __init__(self, *, nodes: ClusterNodes, slot: int, **options: Any) -> None:
        self._nodes: Final = nodes
        self._slot: Final = slot
        super().__init__(**options)

    def connect_check_health(self, *arguments: Any, **named: Any) -> None:
        if not self.is_connected:  # type: ignore[attr-defined]
            self.host, self.port = self._nodes.primary(self._slot)
        super().connect_check_health(*arguments, **named)  # type: ignore[misc]

    def read_response(self, *arguments: Any, **named: Any) -> Any:
        try:
            return super().read_response(*arguments, **named)  # type: ignore[misc]
        except _MOVED as error:
            self.disconnect()  # type: ignore[attr-defined]
            raise ConnectionError(f"the server does not have the slot ({type(error).__name__})") from error


class _AsyncSlotConnection:
    """The same for an event loop."""

    def __init__(self, *, nodes: ClusterNodes, slot: int, **options: Any) -> None:
        self._nodes: Final = nodes
        self._slot: Final = slot
        super().__init__(**options)

    async def connect_check_health(self, *arguments: Any, **named: Any) -> None:
        if not self.is_connected:  # type: ignore[attr-defined]
            self.host, self.port = await self._nodes.async_primary(self._slot)
        await super().connect_check_health(*arguments, **named)  # type: ignore[misc]

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        try:
            return await super().read_response(*arguments, **named)  # type: ignore[misc]
        except _MOVED as error:
            await self.disconnect()  # type: ignore[attr-defined]
            raise ConnectionError(f"the server does not have the slot ({type(error).__name__})") from error


class SlotConnection(_SlotConnection, PlainConnection):
    """A plain connection to a slot's primary."""


class SlotTlsConnection(_SlotConnection, TlsConnection):
    """An encrypted connection to a slot's primary."""


class AsyncSlotConnection(_AsyncSlotConnection, AsyncPlainConnection):
    """A plain connection to a slot's primary, for an event loop."""


class AsyncSlotTlsConnection(_AsyncSlotConnection, AsyncTlsConnection):
    """An encrypted connection to a slot's primary, for an event loop."""
