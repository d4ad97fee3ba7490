import json
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from openapi_spec_validator import OpenAPIV31SpecValidator

from events.problems import CATALOGUE, PROBLEM_MEDIA_TYPE, PROBLEM_TYPE_BASE, Problem
from events.scans import ScanBatch
from tracing.openapi import SCANS, openapi_document
from tracing.openapi_page import documentation_page
from tracing.operation import OPERATION, Operation
from tracing.routes.documents import document_routes, endpoints_of
from tracing.service import ROUTES

ALL_ROUTES: list[HTTPRouteHandler] = [*ROUTES, *document_routes(ROUTES)]
DOCUMENT: dict[str, Any] = openapi_document([endpoint for route in ALL_ROUTES for endpoint in endpoints_of(route)])
PAGE = documentation_page(DOCUMENT)
VOID = {"meta"}


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, each) for path, methods in DOCUMENT["paths"].items() for method, each in methods.items()]


def refs(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(refs(each) for each in value.values()))
    return set().union(*(refs(each) for each in value)) if isinstance(value, list) else set()


class Page(HTMLParser):
    """Collects what a page refers to, and that its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "srcset", "action", "data", "background", "poster"):
                self.links.append(value or "")
            assert not name.startswith("on"), f"{tag} has a script in {name}"
        if tag not in VOID and tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> Page:
    parsed = Page()
    parsed.feed(PAGE)
    parsed.close()
    return parsed


def test_the_document_is_valid_openapi_31() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).validate()


def test_every_schema_that_is_referred_to_is_there_and_none_is_idle() -> None:
    named = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert refs(DOCUMENT) <= named
    assert named - refs(DOCUMENT) <= {"#/components/schemas/Refusal"}


def test_every_problem_type_is_documented_and_none_is_invented() -> None:
    listed = {each["type"].removeprefix(PROBLEM_TYPE_BASE) for each in DOCUMENT["x-problem-types"]}
    assert listed == set(CATALOGUE)
    for method, path, operation in operations():
        for status, response in operation["responses"].items():
            examples = response["content"].get(PROBLEM_MEDIA_TYPE, {}).get("examples", {})
            for name, example in examples.items():
                problem = msgspec.convert(example["value"], Problem)
                assert problem.type == PROBLEM_TYPE_BASE + name, (method, path)
                assert str(problem.status) == status


def test_operation_names_are_their_own_and_every_handler_has_its_own_operation() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    for route in ALL_ROUTES:
        operation = route.opt[OPERATION]
        assert isinstance(operation, Operation)
        assert operation.name == route.fn.__name__


def test_path_parameters_are_declared() -> None:
    for method, path, operation in operations():
        declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path)), (method, path)


def test_what_looks_at_a_person_asks_for_a_purpose_and_may_refuse_for_want_of_it() -> None:
    person = {route.opt[OPERATION].name for route in ALL_ROUTES if route.opt[OPERATION].person}
    assert person == {
        "confirm_case",
        "read_case",
        "ask_trace",
        "read_trace",
        "list_contacts",
        "compare_traces",
        "sweep_traces",
        "export_trace",
        "export_traces",
        "export_case_timeline",
        "list_stays",
        "prove_scan",
        "ask_sources",
        "rank_exposures",
        "list_clusters",
        "follow_clusters",
        "read_device_log",
        "close_case",
        "reopen_case",
        "read_key_impact",
        "read_trace_doubts",
        "list_doubts",
        "declare_states",
        "declare_contacts",
        "read_status",
        "list_quarantine",
        "import_health",
        "import_names",
        "erase_person",
        "readmit_person",
        "read_access_log",
        "reveal_people",
    }
    for _, _, operation in operations():
        examples = operation["responses"].get("422", {}).get("content", {}).get(PROBLEM_MEDIA_TYPE, {})
        assert ("purpose-missing" in examples.get("examples", {})) == (operation["operationId"] in person)
        headers = {each["name"] for each in operation.get("parameters", []) if each["in"] == "header"}
        in_header = operation["operationId"] in person - {
            "confirm_case",
            "close_case",
            "reopen_case",
            "export_traces",
            "read_key_impact",
            "read_trace_doubts",
            "ask_trace",
            "compare_traces",
            "sweep_traces",
            "ask_sources",
            "rank_exposures",
            "declare_states",
            "declare_contacts",
            "read_status",
            "import_health",
            "import_names",
            "erase_person",
            "readmit_person",
            "read_access_log",
            "reveal_people",
        }
        assert ("Truyvet-Purpose" in headers) == in_header


def test_examples_of_bodies_have_the_form_of_their_schemas() -> None:
    for route in ALL_ROUTES:
        operation: Operation = route.opt[OPERATION]
        assert (operation.example is None) == (operation.body is None), operation.name
        if operation.body is not None:
            assert isinstance(operation.example, operation.body)
            msgspec.json.decode(msgspec.json.encode(operation.example), type=operation.body)


def test_the_scan_endpoint_is_in_both_forms_with_all_that_can_go_wrong() -> None:
    operation = DOCUMENT["paths"]["/v1/scans"]["post"]
    assert set(operation["requestBody"]["content"]) == {"application/json", "application/msgpack"}
    assert {"200", "202", "400", "401", "403", "408", "413", "415", "422", "429", "500", "503"} == set(
        operation["responses"]
    )
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert msgspec.convert(example, ScanBatch) == SCANS.example
    assert "Retry-After" in operation["responses"]["503"]["headers"]


def test_what_a_device_signs_is_said_to_be_signed() -> None:
    operation = DOCUMENT["paths"]["/v1/sequence"]["get"]
    assert operation["security"] == [{"deviceSignature": []}]
    assert "x-roles" not in operation
    headers = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
    assert headers == {"Signature-Input", "Signature"}
    assert {"200", "400", "401", "403", "422", "429", "500", "503"} == set(operation["responses"])


def test_descriptions_keep_no_indentation_of_the_source() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert not re.search(r"\n +\S", schema.get("description", "")), name


def test_the_page_needs_nothing_from_outside(page: Page) -> None:
    assert not page.open
    assert not page.tags & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "svg",
        "audio",
        "video",
    }
    assert {link for link in page.links if not link.startswith("#")} == {"openapi.json"}
    style = PAGE[PAGE.index("<style>") : PAGE.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_of_the_page_leads_somewhere_and_no_id_is_double(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_page_names_every_path_schema_and_problem(page: Page) -> None:
    for _, path, operation in operations():
        assert f"<code>{path}</code>" in PAGE
        assert operation["operationId"] in page.ids
    for name in DOCUMENT["components"]["schemas"]:
        assert f"schema-{name}" in page.ids
    for name in CATALOGUE:
        assert f"problem-{name}" in page.ids


def test_the_page_escapes_whatever_a_description_holds() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["info"]["description"] = "<script>alert(1)</script> & `<b>`"
    document["components"]["schemas"]["Problem"]["description"] = '"><img src=x onerror=alert(1)>'
    parsed = Page()
    parsed.feed(documentation_page(document))
    assert "script" not in parsed.tags
    assert "img" not in parsed.tags
