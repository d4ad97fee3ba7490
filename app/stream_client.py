"""The synchronous client of the stream's server (Redis or Valkey)."""

from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import Settings

REDIS_SECONDS_MAX: Final = 5.0
"""How long an answer may take; blocking reads ask for less."""
REDIS_HEALTH_SECONDS: Final = 30
PROBE_SECONDS_MAX: Final = 1.0


def stream_client(settings: Settings) -> redis.Redis:
    """A thread-safe client; connects when it is first used."""
    return redis.Redis.from_url(
        settings.stream_url, socket_timeout=REDIS_SECONDS_MAX, health_check_interval=REDIS_HEALTH_SECONDS
    )


def probe_client(settings: Settings) -> redis.Redis:
    """A thread-safe client for questions that nobody should wait for: one try, and a second for it."""
    return redis.Redis.from_url(
        settings.stream_url,
        socket_timeout=PROBE_SECONDS_MAX,
        socket_connect_timeout=PROBE_SECONDS_MAX,
        retry=Retry(NoBackoff(), 0),
    )
