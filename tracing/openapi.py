"""The OpenAPI 3.1 document: the trace API from its operations, and the edge's `POST /v1/scans` beside it.

Schemas come from the structs themselves, so that the document cannot say something else than the code.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from events import problems
from events.access import Role
from events.problems import CATALOGUE, PROBLEM_MEDIA_TYPE, Kind, Problem
from events.scans import SCANS_PATH, Receipt, Refusal, Scan, ScanBatch
from events.scans import Kind as ScanKind
from tracing.access import roles_with
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN
from tracing.decoding import PURPOSE_HEADER
from tracing.operation import Operation, Success

Json = dict[str, Any]
"""A JSON object of the document, whose shape the OpenAPI specification fixes."""

API_VERSION: Final = "1"
REF: Final = "#/components/schemas/{name}"
BEARER: Final = "bearer"
DEVICE_SIGNATURE: Final = "deviceSignature"

INTRODUCTION: Final = (
    "Truyvet turns signed QR scans into the answer to one question: who was with this person?\n\n"
    "Scanners send batches of scans to the ingest service (`POST /v1/scans`); everything else is the trace service."
    " All times are integer Unix milliseconds (UTC), all intervals half-open `[from, to)`, all bytes base64."
    " A subject is a stable pseudonym of 32 hexadecimal digits. Every error is an RFC 9457 problem document whose"
    " `type` is stable and whose `action` says what to do. Lists come in pages: pass `next` on as `cursor`."
)
SCANS_TEXT: Final = (
    "Served by the ingest service. One signature covers the whole batch (RFC 9421, Ed25519, keyid"
    " `<device>.<key>`) over at least `@method`, `@path`, `content-type` and `content-digest` (`content-encoding` and"
    " `@query` too where there are any). 202 means that every accepted scan is on disk. `(device, seq)` is a scan's"
    " identity: sending a batch again is always safe. `verdicts` names each scan that was a `duplicate` or was"
    " refused, with a word of the closed list `Refusal`."
)
SCANS_PROBLEMS: Final = (
    problems.SIGNATURE_MISSING,
    problems.SIGNATURE_MALFORMED,
    problems.SIGNATURE_INCOMPLETE,
    problems.SIGNATURE_INVALID,
    problems.SIGNATURE_STALE,
    problems.DIGEST_MISMATCH,
    problems.KEY_UNKNOWN,
    problems.KEY_REVOKED,
    problems.CONTENT_ENCODING_UNKNOWN,
    problems.BODY_TIMEOUT,
    problems.RATE_EXCEEDED,
    problems.STREAM_DOWN,
    problems.STREAM_FULL,
)
SCANS: Final = Operation(
    name="send_scans",
    tag="Scans",
    summary="Send a signed batch of scans",
    text=SCANS_TEXT,
    permission=None,
    body=ScanBatch,
    example=ScanBatch([Scan(seq=1, at=1_634_889_600_000, kind=ScanKind.IN, code="TV1.…")]),
    successes=(
        Success(202, "The batch is on disk", Receipt),
        Success(200, "This very request was taken before; nothing is counted twice", Receipt),
    ),
    problems=SCANS_PROBLEMS,
)
SIGNATURE_HEADERS: Final = (
    ("Signature-Input", "RFC 9421: what is covered, with `created` and `keyid`"),
    ("Signature", "RFC 9421: the Ed25519 signature under the same label"),
)
SIGNED_BODY_HEADERS: Final = (
    ("Content-Digest", "RFC 9530 digest (`sha-256` or `sha-512`) of the body as sent"),
    *SIGNATURE_HEADERS,
)

_PATH_PARAMETER: Final = re.compile(r"\{(\w+):(\w+)\}")
_PATH_TYPES: Final = {"str": {"type": "string"}, "int": {"type": "integer"}}


class Endpoint(msgspec.Struct, frozen=True):
    """One method of one path, as the framework writes it (`/v1/cases/{case_id:str}`), with what it promises."""

    method: str
    path: str
    operation: Operation


def openapi_document(endpoints: Sequence[Endpoint]) -> Json:
    """The document, ready for JSON."""
    schemas = _Schemas([*(endpoint.operation for endpoint in endpoints), SCANS])
    paths: Json = {SCANS_PATH: {"post": _scans(schemas)}}
    for endpoint in endpoints:
        path = _PATH_PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Truyvet",
            "version": API_VERSION,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(["Scans", *(each.operation.tag for each in endpoints)])],
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _security_schemes()},
        "x-problem-types": [_problem_type(kind) for _, kind in sorted(CATALOGUE.items())],
    }


class _Schemas:
    """The schemas of every struct that any operation names, each under its own name."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        types: list[Any] = [Problem, Refusal]
        queries: list[Any] = []
        for operation in operations:
            types += [success.body for success in operation.successes if success.body is not None]
            types += [operation.body] if operation.body is not None else []
            queries += [operation.query] if operation.query is not None else []
        self._types: Final = list(dict.fromkeys(types))
        schemas, components = msgspec.json.schema_components(self._types, ref_template=REF)
        self.components: Final[dict[str, Json]] = {name: _tidied(schema) for name, schema in components.items()}
        self._schemas: Final[dict[Any, Json]] = dict(zip(self._types, schemas, strict=True))
        self._queries: Final = {query: self._parameters_of(query) for query in dict.fromkeys(queries)}

    def of(self, struct: type[Any]) -> Json:
        """The schema (a reference) of a struct."""
        return self._schemas[struct]

    def parameters(self, query: type[msgspec.Struct]) -> list[Json]:
        """The query parameters that a struct describes."""
        return self._queries[query]

    def _parameters_of(self, query: type[msgspec.Struct]) -> list[Json]:
        _, described = msgspec.json.schema_components([query], ref_template=REF)
        own = described.pop(query.__name__)
        self.components.update({name: _tidied(schema) for name, schema in described.items()})
        required = own.get("required", [])
        return [
            {"name": name, "in": "query", "required": name in required, "schema": _without_null(schema)}
            for name, schema in own["properties"].items()
        ]


def _tidied(schema: Json) -> Json:
    """A struct's schema without its docstring's indentation."""
    return schema | {"description": inspect.cleandoc(schema["description"])} if "description" in schema else schema


def _without_null(schema: Json) -> Json:
    """A query parameter is left out, never null."""
    choices: list[Json] = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return choices[0]


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Json:
    operation = endpoint.operation
    described = _described(operation, schemas)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_TYPES[kind]}
        for name, kind in _PATH_PARAMETER.findall(endpoint.path)
    ]
    if operation.query is not None:
        parameters += schemas.parameters(operation.query)
    if operation.purpose_in_header:
        parameters.append(_purpose_parameter())
    if operation.signed:
        parameters += _signature_parameters(SIGNATURE_HEADERS)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = _request_body(operation, schemas, ["application/json"])
    if operation.signed:
        described["security"] = [{DEVICE_SIGNATURE: []}]
    elif operation.permission is None:
        described["security"] = []
    else:
        described["security"] = [{BEARER: []}]
        described["x-roles"] = list(roles_with(operation.permission))
    return described


def _scans(schemas: _Schemas) -> Json:
    described = _described(SCANS, schemas)
    described["parameters"] = [
        *_signature_parameters(SIGNED_BODY_HEADERS),
        {
            "name": "Content-Encoding",
            "in": "header",
            "required": False,
            "description": "How the body is compressed, if it is",
            "schema": {"type": "string", "enum": ["gzip", "zstd"]},
        },
    ]
    described["requestBody"] = _request_body(SCANS, schemas, ["application/json", "application/msgpack"])
    described["security"] = [{DEVICE_SIGNATURE: []}]
    return described


def _described(operation: Operation, schemas: _Schemas) -> Json:
    """What every operation has."""
    described: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation, schemas),
    }
    if operation.text:
        described["description"] = operation.text
    return described


def _responses(operation: Operation, schemas: _Schemas) -> Json:
    responses: Json = {}
    for success in operation.successes:
        schema = schemas.of(success.body) if success.body is not None else {}
        responses[str(success.status)] = {
            "description": success.text,
            "content": {success.media_type: {"schema": schema}},
        }
    by_status: dict[int, list[Kind]] = {}
    for kind in operation.all_problems():
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem_response(kinds, schemas)
    return responses


def _problem_response(kinds: list[Kind], schemas: _Schemas) -> Json:
    response: Json = {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {
            PROBLEM_MEDIA_TYPE: {
                "schema": schemas.of(Problem),
                "examples": {
                    kind.name: {"summary": kind.title, "value": msgspec.to_builtins(kind.problem())} for kind in kinds
                },
            }
        },
    }
    if any(kind.retry_after_seconds for kind in kinds):
        response["headers"] = {
            "Retry-After": {"description": "Seconds to wait before asking again", "schema": {"type": "integer"}}
        }
    return response


def _request_body(operation: Operation, schemas: _Schemas, media_types: list[str]) -> Json:
    assert operation.body is not None  # noqa: S101  # callers check; for the type checker
    content: Json = {"schema": schemas.of(operation.body)}
    if operation.example is not None:
        content["example"] = _brief(msgspec.to_builtins(operation.example))
    return {"required": True, "content": dict.fromkeys(media_types, content)}


def _brief(value: Any) -> Any:
    """An example without the fields that it leaves empty."""
    match value:
        case dict():
            return {name: _brief(each) for name, each in value.items() if each is not None}
        case list() | tuple():
            return [_brief(each) for each in value]
        case _:
            return value


def _signature_parameters(headers: Iterable[tuple[str, str]]) -> list[Json]:
    return [
        {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in headers
    ]


def _purpose_parameter() -> Json:
    return {
        "name": PURPOSE_HEADER,
        "in": "header",
        "required": True,
        "description": (
            "Why you look at this person; kept in the audit log. Percent-encode what is not ASCII, as UTF-8."
            f" {PURPOSE_CHARACTERS_MIN} to {PURPOSE_CHARACTERS_MAX} characters"
        ),
        "schema": {"type": "string"},
    }


def _security_schemes() -> Json:
    return {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": f"`truyvet token create` makes one. Roles: {', '.join(Role)}.",
        },
        DEVICE_SIGNATURE: {
            "type": "apiKey",
            "in": "header",
            "name": "Signature",
            "description": "An RFC 9421 signature of the request by an enrolled device's Ed25519 key.",
        },
    }


def _problem_type(kind: Kind) -> Json:
    problem = kind.problem()
    return {
        "type": problem.type,
        "status": kind.status,
        "title": kind.title,
        "action": kind.action,
        "retry_after_seconds": kind.retry_after_seconds,
    }
