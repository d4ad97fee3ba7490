"""The trace service: its routes, its one guard, its limits and headers, as a Litestar application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from litestar import Litestar, Router
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Guard, Message, Scope

from events import problems
from events.problems import ProblemError
from tracing.access import authenticated, require
from tracing.faults import answer_fault
from tracing.operation import OPERATION, Operation
from tracing.parts import Parts
from tracing.routes import (
    audit,
    cases,
    closings,
    clusters,
    comparisons,
    device_log,
    devices,
    directory,
    doubts,
    exports,
    exposures,
    gaps,
    health,
    impact,
    jobs,
    occupancy,
    people,
    places,
    presets,
    proofs,
    retention,
    reveals,
    sequence,
    sources,
    subjects,
    traces,
)
from tracing.routes.documents import document_routes

REQUEST_THREADS_MAX: Final = 16
"""How many requests are worked on at once; more wait for their turn."""
REQUEST_BODY_BYTES_MAX: Final = 1_000_000
UNMATCHED: Final = "unmatched"

SECURITY_HEADERS: Final[Sequence[tuple[bytes, bytes]]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
"""On every answer. Nothing external may load; the documentation page's own style is the one thing that is inline."""

ROUTES: Final[Sequence[HTTPRouteHandler]] = (
    *cases.ROUTES,
    *closings.ROUTES,
    *traces.ROUTES,
    *comparisons.ROUTES,
    *presets.ROUTES,
    *jobs.ROUTES,
    *exports.ROUTES,
    *subjects.ROUTES,
    *proofs.ROUTES,
    *people.ROUTES,
    *places.ROUTES,
    *occupancy.ROUTES,
    *sources.ROUTES,
    *exposures.ROUTES,
    *clusters.ROUTES,
    *devices.ROUTES,
    *impact.ROUTES,
    *doubts.ROUTES,
    *device_log.ROUTES,
    *gaps.ROUTES,
    *sequence.ROUTES,
    *retention.ROUTES,
    *audit.ROUTES,
    *directory.ROUTES,
    *reveals.ROUTES,
    *health.ROUTES,
)


def trace_service(parts: Parts) -> Litestar:
    """The application. It closes nothing of what it was given; that is the maker's."""
    # One router: registering two handlers of one path one after the other makes the framework wrap a threaded handler
    # twice, and the second wrapping loses its answer.
    everything = Router("/", route_handlers=[*ROUTES, *document_routes(ROUTES)])
    return Litestar(
        route_handlers=[everything],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        guards=[_guard(parts)],
        exception_handlers={Exception: answer_fault},
        before_send=[_finish(parts)],
        lifespan=[_threads, _jobs(parts)],
        request_max_body_size=REQUEST_BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


def _guard(parts: Parts) -> Guard:
    """The one guard of every route: one whose operation names no permission is open.

    One without an operation is closed; those are the OPTIONS that the framework adds by itself.
    """

    # A coroutine function, although it awaits nothing: others are sent to a thread. So is `finish` below.
    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        operation = handler.opt.get(OPERATION)
        if not isinstance(operation, Operation):
            raise ProblemError(problems.METHOD_NOT_ALLOWED.problem())
        if operation.permission is None:
            return
        token = authenticated(connection.headers.get("authorization"), parts.registry.tokens_by_sha256, parts.clock())
        require(token, operation.permission)
        connection.scope["auth"] = token

    return guard


def _finish(parts: Parts) -> Callable[[Message, Scope], Awaitable[None]]:
    """What every answer gets on its way out, errors of the framework too: headers, and a count."""

    async def finish(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        message["headers"] = [*message["headers"], *SECURITY_HEADERS]
        handler = scope.get("route_handler")
        operation = handler.opt.get(OPERATION) if handler is not None else None
        name = operation.name if isinstance(operation, Operation) else UNMATCHED
        parts.metrics.requests.labels(name, str(message["status"])).inc()

    return finish


@asynccontextmanager
async def _threads(_: Litestar) -> AsyncIterator[None]:
    """Blocking handlers run in the loop's executor; its size must not depend on the machine."""
    with ThreadPoolExecutor(REQUEST_THREADS_MAX, thread_name_prefix="trace") as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        yield


def _jobs(parts: Parts) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    """What works on in the background ends with the service."""

    @asynccontextmanager
    async def ending(_: Litestar) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(parts.jobs.stop)

    return ending
