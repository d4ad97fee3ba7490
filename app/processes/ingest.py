"""One ingest worker: the edge under `/v1/scans`, its registries in memory, the stream behind it.

Ready when the control stream was replayed, so that no device is unknown for want of reading; from then on it follows.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import redis.asyncio
from litestar import Litestar, Response, asgi, get
from litestar.types import ASGIApp, Receive, Scope, Send
from redis.exceptions import RedisError

from app.key_file import load
from app.key_watch import WATCH_SECONDS, KeyWatch
from app.metrics import MEDIA_TYPE, EdgeMetrics
from app.ports import bound
from app.processes import http
from app.processes.life import Life
from app.settings import Settings
from events import codec
from events.control import Recorded
from events.problems import STREAM_DOWN
from ingest.limits import EdgeLimits
from ingest.places import PlaceView
from ingest.receive import ScanEdge
from keys.codes import CodeOpener
from keys.keyring import Keyring
from keys.secrets import ServerSecrets
from storage.control import follow
from storage.stream import Publisher
from tracing.faults import answer_fault

REDIS_SECONDS_MAX: Final = 5.0

Ready = Callable[[], Awaitable[bool]]


class EdgeMount:
    """The edge as a route of the framework; gets a new edge when the server's keys are rotated."""

    def __init__(self, build: Callable[[ServerSecrets], ScanEdge], keys: ServerSecrets) -> None:
        self._build: Final = build
        self._edge = build(keys)

    def rekey(self, keys: ServerSecrets) -> None:
        """Serve from the next request on with these keys."""
        self._edge = self._build(keys)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one request to the edge, as bare ASGI."""
        await self._edge(scope, receive, send)


def run(settings: Settings, life: Life) -> None:
    """Serve until the process is told to stop."""
    http.run(lambda: _serve(settings, life))


async def _serve(settings: Settings, life: Life) -> None:
    keyring, places = Keyring(), PlaceView()
    metrics = EdgeMetrics(settings.prometheus_dir)
    stream = redis.asyncio.Redis.from_url(settings.stream_url, socket_timeout=REDIS_SECONDS_MAX)
    control = redis.asyncio.Redis.from_url(settings.stream_url, socket_timeout=REDIS_SECONDS_MAX)
    publisher = Publisher(stream, bytes_max=settings.stream_bytes_max)

    def build(keys: ServerSecrets) -> ScanEdge:
        return ScanEdge(
            keyring=keyring,
            places=places,
            secrets=keys,
            opener=CodeOpener(keys),
            publisher=publisher,
            clock_ms=_now_ms,
            random=secrets.token_bytes,
            limits=EdgeLimits(),
            on_result=metrics.on_result,
        )

    def apply(recorded: Recorded) -> None:
        keyring.apply(recorded)
        places.apply(recorded)

    async def stream_answers() -> bool:
        try:
            return bool(await stream.ping())
        except RedisError:
            return False

    mount = EdgeMount(build, load(settings.keys_path))
    replayed = asyncio.Event()
    followers = [
        asyncio.create_task(follow(control, apply, replayed), name="control stream"),
        asyncio.create_task(_watch_keys(KeyWatch(settings.keys_path), mount), name="key file"),
    ]
    for follower in followers:
        follower.add_done_callback(lambda task: _ended(task, life))
    try:
        await _first(replayed, life)
        if not life.stopping.is_set():
            listener = bound(settings.ingest_host, settings.ingest_port, shared=True)
            await http.serve(application(mount, metrics, stream_answers), listener, life)
    finally:
        for follower in followers:
            follower.cancel()
        await stream.aclose()
        await control.aclose()


def application(edge: ASGIApp, metrics: EdgeMetrics, stream_answers: Ready) -> Litestar:
    """The worker's routes: scans, liveness, readiness, metrics."""

    @asgi("/v1/scans", copy_scope=False)
    async def scans(scope: Scope, receive: Receive, send: Send) -> None:
        await edge(scope, receive, send)

    @get("/healthz")
    async def healthz() -> Response[bytes]:
        return Response(codec.to_json({"status": "alive"}), media_type="application/json")

    @get("/readyz")
    async def readyz() -> Response[bytes]:
        if await stream_answers():
            return Response(codec.to_json({"status": "ready"}), media_type="application/json")
        problem = STREAM_DOWN.problem()
        return Response(
            problem.body(),
            status_code=problem.status,
            media_type="application/problem+json",
            headers={"Retry-After": str(problem.retry_after_seconds)},
        )

    @get("/metrics", sync_to_thread=True)
    def exposition() -> Response[bytes]:
        return Response(metrics.exposition(), headers={"Content-Type": MEDIA_TYPE})

    return Litestar(
        [scans, healthz, readyz, exposition],
        openapi_config=None,
        logging_config=None,
        exception_handlers={Exception: answer_fault},
    )


async def _first(replayed: asyncio.Event, life: Life) -> None:
    """Return when the replay is through, or the process must stop before it is."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def stop() -> None:
        loop.call_soon_threadsafe(stopped.set)

    life.on_stop(stop)
    waits = [asyncio.create_task(replayed.wait()), asyncio.create_task(stopped.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _watch_keys(watch: KeyWatch, mount: EdgeMount) -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        keys = watch.fresh()
        if keys is not None:
            mount.rekey(keys)


def _ended(task: "asyncio.Task[None]", life: Life) -> None:
    """A follower has ended: as asked, or the worker would go on with registries that grow old."""
    if not task.cancelled():
        life.fail(task.get_name(), task.exception())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
