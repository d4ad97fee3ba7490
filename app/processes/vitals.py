"""What a process says of itself over HTTP: alive, ready, metrics. Sink and projector serve nothing else."""

import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from litestar import Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from app.metrics.process import ConditionCollector, Look, begin
from app.ports import AddressTaken, bound
from app.processes import http
from app.processes.life import Life
from events import codec
from events.problems import ProblemError
from events.readiness import Readiness, status_of, unready
from tracing.faults import answer_fault
from tracing.metrics import MEDIA_TYPE

log: Final = logging.getLogger(__name__)


def describe(process: str, registry: CollectorRegistry, look: Look) -> None:
    """Let a process of one part, or of several that share the registry, say what it is and how it is."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside every one, which nothing here asks for
    begin(process, registry)
    registry.register(ConditionCollector(process, look, lambda: [os.getpid()]))


def routes(exposition: Callable[[], bytes], look: Look) -> list[HTTPRouteHandler]:
    """Liveness, readiness, metrics."""

    @get("/healthz", sync_to_thread=False)
    def healthz() -> Response[bytes]:
        return Response(codec.to_json({"status": "alive"}), media_type="application/json")

    @get("/readyz", sync_to_thread=True)
    def readyz() -> Response[bytes]:
        checks = look()
        problem = unready(checks)
        if problem is not None:
            raise ProblemError(problem)
        return Response(
            codec.to_json(Readiness(status=status_of(checks), checks=checks)), media_type="application/json"
        )

    @get("/metrics", sync_to_thread=True)
    def metrics() -> Response[bytes]:
        return Response(exposition(), headers={"Content-Type": MEDIA_TYPE})

    return [healthz, readyz, metrics]


def serve_until_stopped(host: str, port: int, registry: CollectorRegistry, look: Look, life: Life) -> None:
    """Serve these routes alone until the process is told to stop.

    Where the address is taken the process goes on unseen: its work matters more than being watched.
    """
    listener = _listener(host, port)
    if listener is None:
        life.ready()
        life.stopping.wait()
        return
    app = Litestar(
        routes(lambda: generate_latest(registry), look),
        openapi_config=None,
        logging_config=None,
        exception_handlers={Exception: answer_fault},
    )
    http.run(lambda: http.serve(app, listener, life))


def _listener(host: str, port: int) -> socket.socket | None:
    try:
        return bound(host, port, shared=False)
    except AddressTaken as error:
        log.warning("nobody can ask this process for its health and metrics: %s", error)
        return None
