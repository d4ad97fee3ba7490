import base64
import hashlib
import itertools

import msgspec
import pytest
import redis

from events import problems
from events.access import Role, Token
from events.control import TokenRevoked
from events.problems import Kind, ProblemError
from storage.clickhouse import Store
from tests.tracing.desk import FAR_AWAY, Desk, now_ms
from tracing.access import ROLE_PERMISSIONS, Permission, authenticated, new_token, require, roles_with

NOW = 1_635_000_000_000
ADMIN, ANALYST, OFFICER, VIEWER = Role.ADMIN, Role.ANALYST, Role.OFFICER, Role.VIEWER
EVERYBODY = None

ENDPOINTS: dict[tuple[str, str], set[Role] | None] = {
    ("POST", "/v1/cases"): {ADMIN, ANALYST},
    ("GET", "/v1/cases"): {ADMIN, ANALYST, OFFICER},
    ("GET", "/v1/cases/{case_id}"): {ADMIN, ANALYST, OFFICER},
    ("POST", "/v1/traces"): {ADMIN, ANALYST},
    ("GET", "/v1/traces"): {ADMIN, ANALYST},
    ("GET", "/v1/traces/{trace_id}"): {ADMIN, ANALYST},
    ("GET", "/v1/traces/{trace_id}/contacts"): {ADMIN, ANALYST},
    ("POST", "/v1/traces/compare"): {ADMIN, ANALYST},
    ("POST", "/v1/traces/sweep"): {ADMIN, ANALYST},
    ("GET", "/v1/presets"): {ADMIN, ANALYST},
    ("GET", "/v1/jobs"): {ADMIN, ANALYST},
    ("GET", "/v1/jobs/{job_id}"): {ADMIN, ANALYST},
    ("DELETE", "/v1/jobs/{job_id}"): {ADMIN, ANALYST},
    ("GET", "/v1/traces/{trace_id}/export/{format_name}"): {ADMIN, ANALYST},
    ("POST", "/v1/exports"): {ADMIN, ANALYST},
    ("GET", "/v1/cases/{case_id}/timeline"): {ADMIN, ANALYST},
    ("GET", "/v1/subjects/{subject}/stays"): {ADMIN, ANALYST},
    ("GET", "/v1/proofs/{device_id}/{seq}"): {ADMIN, ANALYST},
    ("GET", "/v1/places"): {ADMIN, ANALYST, OFFICER, VIEWER},
    ("GET", "/v1/places/{place_id}"): {ADMIN, ANALYST, OFFICER, VIEWER},
    ("POST", "/v1/places"): {ADMIN},
    ("GET", "/v1/places/{place_id}/occupancy"): {ADMIN, ANALYST, OFFICER, VIEWER},
    ("POST", "/v1/sources"): {ADMIN, ANALYST},
    ("POST", "/v1/exposures"): {ADMIN, ANALYST},
    ("GET", "/v1/clusters"): {ADMIN, ANALYST},
    ("GET", "/v1/clusters/feed"): {ADMIN, ANALYST},
    ("GET", "/v1/devices"): {ADMIN, ANALYST, OFFICER, VIEWER},
    ("GET", "/v1/devices/{device_id}"): {ADMIN, ANALYST, OFFICER, VIEWER},
    ("POST", "/v1/devices"): {ADMIN},
    ("POST", "/v1/devices/{device_id}/keys"): {ADMIN},
    ("POST", "/v1/devices/{device_id}/keys/{number}/revoke"): {ADMIN},
    ("GET", "/v1/devices/{device_id}/scans"): {ADMIN},
    ("GET", "/v1/gaps"): {ADMIN, ANALYST, OFFICER, VIEWER},
    ("GET", "/v1/devices/{device_id}/gaps"): {ADMIN, ANALYST, OFFICER, VIEWER},
    ("POST", "/v1/devices/{device_id}/keys/{number}/restore"): {ADMIN},
    ("POST", "/v1/devices/{device_id}/keys/{number}/impact"): {ADMIN},
    ("POST", "/v1/traces/{trace_id}/doubts"): {ADMIN, ANALYST},
    ("GET", "/v1/doubts"): {ADMIN, ANALYST},
    ("POST", "/v1/cases/{case_id}/close"): {ADMIN, ANALYST},
    ("POST", "/v1/cases/{case_id}/reopen"): {ADMIN, ANALYST},
    ("GET", "/v1/retention"): {ADMIN, ANALYST},
    ("POST", "/v1/retention/runs"): {ADMIN},
    ("GET", "/v1/retention/runs/latest"): {ADMIN, ANALYST},
    ("GET", "/v1/audit"): {ADMIN},
    ("GET", "/v1/audit/head"): {ADMIN},
    ("POST", "/v1/audit/verify"): {ADMIN},
    ("POST", "/v1/people/states"): {ADMIN, ANALYST},
    ("POST", "/v1/traces/{trace_id}/states"): {ADMIN, ANALYST},
    ("POST", "/v1/people/status"): {ADMIN, ANALYST, OFFICER},
    ("GET", "/v1/quarantine"): {ADMIN, ANALYST, OFFICER},
    ("GET", "/v1/people/counts"): {ADMIN, ANALYST, OFFICER},
    ("POST", "/v1/health"): {ADMIN, ANALYST},
    ("GET", "/v1/health/columns"): {ADMIN, ANALYST},
    ("GET", "/v1/people/columns"): {ADMIN, ANALYST},
    ("POST", "/v1/people/import"): {ADMIN, ANALYST},
    ("POST", "/v1/people/erase"): {ADMIN},
    ("POST", "/v1/people/readmit"): {ADMIN},
    ("POST", "/v1/people/access-log"): {ADMIN, OFFICER},
    ("GET", "/v1/directory/keys"): {ADMIN},
    ("POST", "/v1/traces/{trace_id}/reveal"): {ADMIN, ANALYST},
    ("GET", "/v1/reveals"): {ADMIN, ANALYST},
    ("POST", "/v1/reveals/{request_id}/approve"): {ADMIN, ANALYST},
    ("POST", "/v1/reveals/{request_id}/refuse"): {ADMIN, ANALYST},
    ("POST", "/v1/reveals/{request_id}/open"): {ADMIN, ANALYST},
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", "/metrics"): EVERYBODY,
    ("GET", "/openapi.json"): EVERYBODY,
    ("GET", "/docs"): EVERYBODY,
}
BY_SIGNATURE = {("GET", "/v1/sequence")}
"""No token opens these; tests/tracing/test_sequence.py has who may."""
PATH_VALUES = {
    "case_id": "f0-none",
    "trace_id": "none",
    "format_name": "csv",
    "request_id": "none",
    "job_id": "none",
    "subject": "0" * 32,
    "device_id": "none",
    "seq": "1",
    "place_id": "none",
    "number": "1",
}


def counting(length: int) -> bytes:
    """Stands in for randomness: the same bytes each time."""
    return bytes(range(length))


def known(*tokens: Token) -> dict[bytes, Token]:
    return {token.sha256: token for token in tokens}


def refused(authorization: str | None, tokens: dict[bytes, Token], now: int = NOW) -> str:
    with pytest.raises(ProblemError) as error:
        authenticated(authorization, tokens, now)
    return error.value.problem.type


def type_of(kind: Kind) -> str:
    return kind.problem().type


def test_a_new_token_is_kept_by_its_digest_alone() -> None:
    text, token = new_token("Trạm 5", Role.OFFICER, NOW + 1, counting)
    prefix, token_id, secret = text.split("_", 2)
    assert (prefix, token_id) == ("tvt", token.id)
    assert base64.urlsafe_b64decode(secret + "=") == bytes(range(32))
    assert token.sha256 == hashlib.sha256(text.encode()).digest()
    assert (token.name, token.role, token.expires, token.revoked) == ("Trạm 5", Role.OFFICER, NOW + 1, False)
    assert secret.encode() not in msgspec.json.encode(token)


def test_a_token_opens_until_the_moment_it_expires() -> None:
    text, token = new_token("A", Role.VIEWER, NOW, counting)
    assert authenticated(f"Bearer {text}", known(token), NOW - 1) is token
    assert authenticated(f"bearer  {text} ", known(token), NOW - 1) is token
    assert refused(f"Bearer {text}", known(token), NOW) == type_of(problems.TOKEN_INVALID)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "tvt_0_x"])
def test_without_a_bearer_token_one_is_asked_for(header: str | None) -> None:
    assert refused(header, {}) == type_of(problems.TOKEN_MISSING)


def test_unknown_changed_revoked_and_huge_tokens_look_alike() -> None:
    text, token = new_token("A", Role.ADMIN, NOW + 1, counting)
    gone = msgspec.structs.replace(token, revoked=True)
    invalid = type_of(problems.TOKEN_INVALID)
    assert refused(f"Bearer {text}", {}) == invalid
    assert refused(f"Bearer {text[:-1]}", known(token)) == invalid
    assert refused(f"Bearer {text}x", known(token)) == invalid
    assert refused(f"Bearer {text}", known(gone)) == invalid
    assert refused("Bearer " + "x" * 1_000_000, known(token)) == invalid
    assert refused(f"Bearer {token.sha256.hex()}", known(token)) == invalid


def test_an_index_that_is_wrong_opens_nothing() -> None:
    text, token = new_token("A", Role.ADMIN, NOW + 1, counting)
    other = msgspec.structs.replace(token, sha256=bytes(32))
    assert refused(f"Bearer {text}", {token.sha256: other}) == type_of(problems.TOKEN_INVALID)


def test_every_permission_has_a_holder_and_admins_hold_all() -> None:
    assert set(ROLE_PERMISSIONS) == set(Role)
    assert ROLE_PERMISSIONS[Role.ADMIN] == frozenset(Permission)
    assert roles_with(Permission.STAYS_READ) == (Role.ADMIN, Role.ANALYST)
    assert roles_with(Permission.AUDIT_READ) == (Role.ADMIN,)


@pytest.mark.parametrize(("role", "permission"), list(itertools.product(Role, Permission)))
def test_require_follows_the_table(role: Role, permission: Permission) -> None:
    _, token = new_token("A", role, NOW + 1, counting)
    if permission in ROLE_PERMISSIONS[role]:
        require(token, permission)
        return
    with pytest.raises(ProblemError) as error:
        require(token, permission)
    assert error.value.problem.type == type_of(problems.ROLE_FORBIDDEN)


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
class TestOverHttp:
    def test_each_role_reaches_its_endpoints_and_no_other(self, valkey: "redis.Redis", store: Store) -> None:
        with Desk(valkey, store).running() as desk:
            found: dict[tuple[str, str], set[Role]] = {}
            for method, template in ENDPOINTS:
                path = template.format(**PATH_VALUES)
                answers = {role: desk.ask(method, path, role=role) for role in Role}
                assert all(answer.status_code not in (401, 500) for answer in answers.values()), (method, path)
                found[method, template] = {role for role, answer in answers.items() if answer.status_code != 403}
        assert found == {endpoint: set(Role) if roles is EVERYBODY else roles for endpoint, roles in ENDPOINTS.items()}

    def test_without_a_token_only_the_open_endpoints_answer(self, valkey: "redis.Redis", store: Store) -> None:
        with Desk(valkey, store).running() as desk:
            opened = set()
            for method, template in ENDPOINTS:
                answer = desk.ask(method, template.format(**PATH_VALUES), role=None)
                if answer.status_code == 401:
                    assert answer.json()["type"] == type_of(problems.TOKEN_MISSING)
                    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                else:
                    opened.add((method, template))
        assert opened == {endpoint for endpoint, roles in ENDPOINTS.items() if roles is EVERYBODY}

    def test_the_table_above_names_every_route(self, valkey: "redis.Redis", store: Store) -> None:
        document = Desk(valkey, store)
        with document.running() as desk:
            paths = desk.ask("GET", "/openapi.json").json()["paths"]
        served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
        assert served - {("POST", "/v1/scans")} == set(ENDPOINTS) | BY_SIGNATURE
        routes = {
            (str(method), str(route.path_format).replace(":str", "").replace(":int", ""))
            for route in desk.app.routes
            for method in getattr(route, "methods", ())
        }
        assert {route for route in routes if route[0] != "OPTIONS"} == set(ENDPOINTS) | BY_SIGNATURE

    def test_a_revoked_and_an_expired_token_are_shut_out(self, valkey: "redis.Redis", store: Store) -> None:
        with Desk(valkey, store).running() as desk:
            assert desk.ask("GET", "/v1/places").status_code == 200
            desk.parts.registrar.record(TokenRevoked(desk.token(Role.ANALYST).id))
            assert desk.ask("GET", "/v1/places").json()["type"] == type_of(problems.TOKEN_INVALID)
            desk.tokens[Role.VIEWER] = desk.issue(Role.VIEWER, expires=now_ms() - 1)
            desk.tokens[Role.OFFICER] = desk.issue(Role.OFFICER, expires=FAR_AWAY)
            desk.parts.registrar.record(TokenRevoked("another"))
            assert desk.ask("GET", "/v1/places", role=Role.VIEWER).status_code == 401
            assert desk.ask("GET", "/v1/places", role=Role.OFFICER).status_code == 200
