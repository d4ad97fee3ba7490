"""The clients of the stream's server (Redis or Valkey), or of a cluster of them: for what all share, by partition."""

from typing import Any, Final

import msgspec
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import Settings
from storage.partitions import partitions_of, shared_key
from storage.slots import ClusterNodes

REDIS_SECONDS_MAX: Final = 5.0
"""How long an answer may take; blocking reads ask for less."""
REDIS_HEALTH_SECONDS: Final = 30
PROBE_SECONDS_MAX: Final = 1.0


class StreamClients(msgspec.Struct, frozen=True):
    """Thread-safe clients, which connect when they are first used.

    `shared` has the registries and watermarks, `partitions[p]` what belongs to partition p. On a server of its own they
    are one and the same.
    """

    shared: redis.Redis
    partitions: list[redis.Redis]

    def close(self) -> None:
        """Give every connection back."""
        for client in (self.shared, *self.partitions):
            client.close()


class AsyncStreamClients(msgspec.Struct, frozen=True):
    """The same for an event loop."""

    shared: "redis.asyncio.Redis"
    partitions: "list[redis.asyncio.Redis]"

    async def aclose(self) -> None:
        """Give every connection back."""
        for client in (self.shared, *self.partitions):
            await client.aclose()


def stream_clients(settings: Settings) -> StreamClients:
    """Clients that wait as long as work may take."""
    return _clients(settings, socket_timeout=REDIS_SECONDS_MAX, health_check_interval=REDIS_HEALTH_SECONDS)


def probe_clients(settings: Settings) -> StreamClients:
    """Clients for questions that nobody should wait for: one try, and a second for it."""
    return _clients(
        settings,
        socket_timeout=PROBE_SECONDS_MAX,
        socket_connect_timeout=PROBE_SECONDS_MAX,
        retry=Retry(NoBackoff(), 0),
    )


def async_stream_clients(settings: Settings) -> AsyncStreamClients:
    """Clients for an event loop. What all share has connections of its own, for reads that block."""
    nodes = _nodes(settings)
    if nodes is None:
        shared, scans = (
            redis.asyncio.Redis.from_url(settings.stream_url, socket_timeout=REDIS_SECONDS_MAX) for _ in range(2)
        )
        return AsyncStreamClients(shared, [scans] * settings.stream_partitions)
    return AsyncStreamClients(
        nodes.async_client(shared_key(""), socket_timeout=REDIS_SECONDS_MAX),
        [
            nodes.async_client(partition.key(""), socket_timeout=REDIS_SECONDS_MAX)
            for partition in partitions_of(settings.stream_partitions)
        ],
    )


def stream_client(settings: Settings) -> redis.Redis:
    """A thread-safe client of what all share; connects when it is first used."""
    return stream_clients(settings).shared


def _clients(settings: Settings, **options: Any) -> StreamClients:
    nodes = _nodes(settings)
    if nodes is None:
        client = redis.Redis.from_url(settings.stream_url, **options)
        return StreamClients(client, [client] * settings.stream_partitions)
    return StreamClients(
        nodes.client(shared_key(""), **options),
        [nodes.client(partition.key(""), **options) for partition in partitions_of(settings.stream_partitions)],
    )


def _nodes(settings: Settings) -> ClusterNodes | None:
    if not settings.redis_cluster_nodes:
        return None
    return ClusterNodes(settings.stream_url, settings.cluster_nodes)
