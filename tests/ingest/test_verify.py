"""`ingest.verify`: each way for a signed request to fail, and the order in which they are told."""

import pytest

from events import problems
from events.control import DeviceKeyAdded, DeviceKeyRetired, DeviceKeyRevoked
from events.problems import Kind, Problem, ProblemError
from ingest.verify import Request, Verified, headers_of, request_of, verify_request
from keys.http_signatures import content_digest
from tests.ingest.scene import (
    DOOR,
    LIMITS,
    NOW,
    PATH,
    SECOND,
    Scene,
    device_key,
    good,
    json_body,
    signed,
    signed_over,
)

BODY = json_body(good())
COVERED = ("@method", "@path", "content-type", "content-digest")


def verify(
    headers: dict[str, str],
    *,
    scene: Scene | None = None,
    body: bytes = BODY,
    query: str = "",
    authority: str = "",
    now_ms: int = NOW,
) -> Verified:
    request = Request("POST", PATH, query, authority, headers, body)
    return verify_request(request, (scene or Scene()).keyring, now_ms, LIMITS)


def refusal(headers: dict[str, str], **arguments: object) -> Problem:
    with pytest.raises(ProblemError) as caught:
        verify(headers, **arguments)  # type: ignore[arg-type]
    return caught.value.problem


@pytest.mark.parametrize("raw_path", [b"/v1/s%63ans", b"/v1/s%63ans?a=1", None])
def test_a_request_is_seen_as_its_signature_sees_it(raw_path: bytes | None) -> None:
    """Header fields joined, the path as it was sent and without its query, the host without its scheme's port."""
    scope = {
        "method": "GET",
        "scheme": "https",
        "path": "/v1/scans",
        "raw_path": raw_path,
        "query_string": b"a=1",
        "headers": [(b"Host", b"Edge.Example:443"), (b"x-one", b" 1\t"), (b"x-two", b"2"), (b"X-One", b"3")],
    }
    request = request_of(scope, headers_of(scope), b"body")
    assert request == Request(
        method="GET",
        path="/v1/scans" if raw_path is None else "/v1/s%63ans",
        query="a=1",
        authority="edge.example",
        headers={"host": "Edge.Example:443", "x-one": "1, 3", "x-two": "2"},
        body=b"body",
    )
    assert request_of(scope | {"scheme": "http"}, headers_of(scope), b"").authority == "edge.example:443"


def test_a_good_request_names_its_device_and_leaves_evidence() -> None:
    headers = signed(BODY)
    verified = verify(headers | {"user-agent": "scanner/1"})
    assert verified.device == DOOR
    assert verified.key == device_key("door")
    assert len(verified.signature) == 64
    evidence = verified.evidence
    assert (evidence.method, evidence.path, evidence.body) == ("POST", PATH, BODY)
    assert evidence.headers == {name: headers[name] for name in ("content-type", "content-digest")}
    assert evidence.signature_input == headers["signature-input"]
    assert evidence.signature == headers["signature"]


@pytest.mark.parametrize("gone", ["signature", "signature-input"])
def test_no_signature(gone: str) -> None:
    headers = signed(BODY)
    del headers[gone]
    assert problems.SIGNATURE_MISSING.name in refusal(headers).type


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "sig=:AAAA:"},
        {"signature": "other=" + signed(BODY)["signature"].partition("=")[2]},
        {"signature-input": "sig=nonsense"},
        {"signature-input": signed(BODY)["signature-input"] + ', two=("@method");created=1;keyid="door.1"'},
        {"content-digest": "md5=:AAAA:"},
        {"content-digest": "sha-256=:AAAA:"},
    ],
)
def test_unreadable(change: dict[str, str]) -> None:
    assert problems.SIGNATURE_MALFORMED.name in refusal(signed(BODY) | change).type


@pytest.mark.parametrize("left_out", COVERED)
def test_covers_too_little(left_out: str) -> None:
    components = tuple(name for name in COVERED if name != left_out)
    problem = refusal(signed_over(components, BODY))
    assert problems.SIGNATURE_INCOMPLETE.name in problem.type
    assert left_out in problem.detail


def test_an_encoding_that_is_not_covered() -> None:
    problem = refusal(signed(BODY) | {"content-encoding": "gzip"})
    assert problems.SIGNATURE_INCOMPLETE.name in problem.type
    assert "content-encoding" in problem.detail


def test_an_encoding_that_is_covered() -> None:
    assert verify(signed(BODY, encoding="gzip")).evidence.headers["content-encoding"] == "gzip"


def test_a_query_must_be_covered() -> None:
    assert problems.SIGNATURE_INCOMPLETE.name in refusal(signed(BODY), query="a=1").type
    headers = signed_over((*COVERED, "@query"), BODY, query="a=1")
    assert verify(headers, query="a=1").evidence.path == f"{PATH}?a=1"
    assert problems.SIGNATURE_INVALID.name in refusal(headers, query="a=2").type


def test_the_authority_counts_where_it_is_covered() -> None:
    headers = signed_over((*COVERED, "@authority"), BODY, authority="edge.example")
    assert verify(headers, authority="edge.example").evidence.headers["host"] == "edge.example"
    assert problems.SIGNATURE_INVALID.name in refusal(headers, authority="other.example").type


def test_covers_a_header_that_is_not_there() -> None:
    headers = signed_over((*COVERED, "x-lane"), BODY, headers={"x-lane": "3"})
    assert verify(headers).evidence.headers["x-lane"] == "3"
    del headers["x-lane"]
    problem = refusal(headers)
    assert problems.SIGNATURE_MALFORMED.name in problem.type
    assert "x-lane" in problem.detail


def test_an_unknown_key() -> None:
    assert problems.KEY_UNKNOWN.name in refusal(signed(BODY, device="nobody")).type
    assert problems.KEY_UNKNOWN.name in refusal(signed(BODY, key=2)).type


def test_a_key_without_its_device() -> None:
    scene = Scene()
    scene.record(DeviceKeyAdded(device_key("stray")))
    assert problems.KEY_UNKNOWN.name in refusal(signed(BODY, device="stray"), scene=scene).type


@pytest.mark.parametrize(("age", "fresh"), [(300, True), (301, False), (-60, True), (-61, False)])
def test_freshness(age: int, fresh: bool) -> None:
    headers = signed(BODY, created=NOW // 1000 - age)
    if fresh:
        verify(headers)
        return
    problem = refusal(headers)
    assert problems.SIGNATURE_STALE.name in problem.type
    assert str(NOW // 1000) in problem.detail
    assert f"{abs(age)} s {'behind' if age > 0 else 'ahead'}" in problem.detail


@pytest.mark.parametrize(("left", "fresh"), [(1, True), (0, False)])
def test_expires(left: int, fresh: bool) -> None:
    headers = signed_over(COVERED, BODY, parameters=f";expires={NOW // 1000 + left}")
    if fresh:
        verify(headers)
    else:
        assert problems.SIGNATURE_STALE.name in refusal(headers).type


def test_another_body() -> None:
    assert problems.DIGEST_MISMATCH.name in refusal(signed(BODY), body=BODY + b" ").type


def test_another_body_with_its_own_digest() -> None:
    other = BODY + b" "
    headers = signed(BODY) | {"content-digest": content_digest(other)}
    assert problems.SIGNATURE_INVALID.name in refusal(headers, body=other).type


def test_another_devices_signature() -> None:
    headers = signed(BODY, device="post-1")
    headers["signature-input"] = headers["signature-input"].replace("post-1.1", "door.1")
    assert problems.SIGNATURE_INVALID.name in refusal(headers).type


@pytest.mark.parametrize(
    ("event", "from_ms", "kind"),
    [
        (DeviceKeyRevoked("door", 1, NOW), NOW, problems.KEY_REVOKED),
        (DeviceKeyRetired("door", 1, NOW), NOW, problems.KEY_REVOKED),
    ],
)
def test_a_key_ends_at_its_time(event: DeviceKeyRevoked | DeviceKeyRetired, from_ms: int, kind: Kind) -> None:
    scene = Scene()
    scene.record(event)
    verify(signed(BODY), scene=scene, now_ms=from_ms - 1)
    assert kind.name in refusal(signed(BODY), scene=scene, now_ms=from_ms).type


def test_a_key_begins_at_its_time() -> None:
    scene = Scene()
    scene.record(DeviceKeyAdded(device_key("door", 2, valid_from=NOW + SECOND)))
    verify(signed(BODY, key=2), scene=scene, now_ms=NOW + SECOND)
    assert problems.KEY_REVOKED.name in refusal(signed(BODY, key=2), scene=scene).type


def test_revocation_is_told_only_to_the_holder() -> None:
    scene = Scene()
    scene.record(DeviceKeyRevoked("door", 1, NOW))
    headers = signed(BODY, device="post-1")
    headers["signature-input"] = headers["signature-input"].replace("post-1.1", "door.1")
    assert problems.SIGNATURE_INVALID.name in refusal(headers, scene=scene).type
