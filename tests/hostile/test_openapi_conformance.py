"""Requests made up from the OpenAPI document, right and wrong ones: no 5xx, and no answer that it does not promise."""

import secrets
import time
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import booleans
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from events.access import Role
from events.control import TokenIssued
from events.scans import Kind, Scan
from tests.journey.driver import System
from tests.tracing.test_openapi import DOCUMENT
from tracing.access import new_token
from tracing.decoding import PURPOSE_HEADER

ANSWER_SECONDS_MAX: Final = 60
EXAMPLES: Final = 10
"""For each operation, for right and for wrong requests."""
KNOWN: Final = {"device_id": "market", "place_id": "market", "subject": bytes(16).hex(), "seq": 1, "number": 9}
"""What can be found, by the names of path parameters."""
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS: Final = [
    (method.upper(), path)
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if path not in {"/docs", "/openapi.json", "/v1/clusters/feed"}  # the last of them never ends
]
BOUNDED: Final = settings(
    max_examples=2 * EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


UNREACHED: Final = {
    *("/v1/scans", "/v1/sequence", "/v1/traces/{trace_id}", "/v1/cases/{case_id}"),
    *("/v1/traces/{trace_id}/contacts", "/v1/jobs/{job_id}"),
    *("/v1/traces/{trace_id}/export/{format_name}", "/v1/cases/{case_id}/timeline"),
    *("/v1/doubts", "/v1/places/{place_id}/occupancy", "/v1/retention/runs/latest"),
}
"""What nobody reaches by chance: a signature, an id that the service makes up itself, a device and a window that fit,
or what nobody has run yet."""


@pytest.fixture(scope="module")
def schema(system: System) -> Any:
    """The document as the running service gives it, beside a little that can be found."""
    scanner = system.scanner("market")
    now = int(time.time() * 1000)
    headers, body = scanner.request([Scan(1, now, Kind.IN, code=system.code(bytes(16), now - 1000, now + 3_600_000))])
    system.client.post(headers, body)
    system.await_log()
    return schemathesis.openapi.from_url(f"{system.settings.api}/openapi.json")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_keeps_its_promise(system: System, schema: Any, method: str, path: str) -> None:
    # The administrator's own token would be revoked by whoever finds it among the tokens.
    text, token = new_token("fuzzer", Role.ADMIN, int(time.time() * 1000) + 3_600_000, secrets.token_bytes)
    system.register([TokenIssued(token)])
    operation = schema[path][method]
    base = system.settings.ingest if path == "/v1/scans" else system.settings.api

    right, wrong = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    statuses: set[int] = set()

    @BOUNDED
    @given(case=right | wrong, known=booleans())
    def conforms(case: Any, known: bool) -> None:
        headers = {"Authorization": f"Bearer {text}"}
        if known:
            headers[PURPOSE_HEADER] = "testing the document"
            case.path_parameters |= {name: KNOWN[name] for name in case.path_parameters if name in KNOWN}
        response = case.call_and_validate(base_url=base, headers=headers, checks=CHECKS, timeout=ANSWER_SECONDS_MAX)
        statuses.add(response.status_code)

    conforms()
    assert path in UNREACHED or method != "GET" or 200 in statuses
