"""The service describes itself: an OpenAPI document for tools, a page for people, both from the operations."""

from collections.abc import Sequence
from typing import Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from events import codec
from tracing.openapi import Endpoint, openapi_document
from tracing.openapi_page import documentation_page
from tracing.operation import OPERATION, Operation, Success

DOCUMENT: Final = Operation(
    name="openapi_json",
    tag="Service",
    summary="This API as an OpenAPI 3.1 document",
    permission=None,
    successes=(Success(200, "The document", None, "application/json"),),
)
PAGE: Final = Operation(
    name="docs",
    tag="Service",
    summary="This API as a page to read; needs no internet",
    permission=None,
    successes=(Success(200, "The page", None, "text/html"),),
)


def document_routes(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """The two routes that serve the documents of `routes` and of themselves, rendered once, here."""

    @get("/openapi.json", opt={OPERATION: DOCUMENT}, sync_to_thread=False)
    def openapi_json() -> Response[bytes]:
        """The document."""
        return Response(json, media_type="application/json")

    @get("/docs", opt={OPERATION: PAGE}, sync_to_thread=False)
    def docs() -> Response[bytes]:
        """The page."""
        return Response(page, media_type="text/html")

    own = [openapi_json, docs]
    document = openapi_document([endpoint for route in [*routes, *own] for endpoint in endpoints_of(route)])
    json = codec.to_json(document)
    page = documentation_page(document).encode()
    return own


def endpoints_of(route: HTTPRouteHandler) -> list[Endpoint]:
    """A route handler's methods and paths, with its operation."""
    operation = route.opt[OPERATION]
    assert isinstance(operation, Operation)  # noqa: S101  # for the type checker; the guard closes such a route
    return [
        Endpoint(str(method), path, operation) for path in sorted(route.paths) for method in sorted(route.http_methods)
    ]
