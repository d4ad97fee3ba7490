"""`ingest.evidence`: what was sealed at the edge proves its signature when it is opened."""

import msgspec
import pytest

from events.scans import Evidence
from ingest.evidence import EvidenceBroken, open_evidence, seal_evidence, signature_holds
from ingest.verify import Request, verify_request
from tests.ingest.scene import (
    DOOR,
    LIMITS,
    NOW,
    PATH,
    POST,
    SECRETS,
    STRANGER,
    Scene,
    device_key,
    good,
    json_body,
    signed,
    signed_over,
)

NONCE = bytes(12)
BODY = json_body(good())
PUBLIC = device_key("door").public


def evidence_of(headers: dict[str, str], *, query: str = "", authority: str = "") -> Evidence:
    request = Request("POST", PATH, query, authority, headers, BODY)
    return verify_request(request, Scene().keyring, NOW, LIMITS).evidence


def test_what_was_sealed_proves_itself() -> None:
    evidence = evidence_of(signed(BODY))
    sealed = seal_evidence(SECRETS, evidence, DOOR.number, NONCE)
    assert BODY[20:60] not in sealed
    opened = open_evidence(SECRETS, sealed, DOOR.number)
    assert opened == evidence
    assert signature_holds(opened, PUBLIC)


def test_a_query_and_an_authority_are_kept_where_they_were_signed() -> None:
    components = ("@method", "@path", "@query", "@authority", "content-type", "content-digest")
    headers = signed_over(components, BODY, query="post=7", authority="edge.example")
    assert signature_holds(evidence_of(headers, query="post=7", authority="edge.example"), PUBLIC)


@pytest.mark.parametrize(
    "change",
    [
        {"body": BODY + b" "},
        {"method": "PUT"},
        {"path": "/v1/other"},
        {"headers": {"content-type": "application/json"}},
        {"signature": "sig=:AAAA:"},
        {"signature_input": "nonsense"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_was_changed_proves_nothing(change: dict[str, object]) -> None:
    assert not signature_holds(msgspec.structs.replace(evidence_of(signed(BODY)), **change), PUBLIC)


def test_another_key_proves_nothing() -> None:
    assert not signature_holds(evidence_of(signed(BODY)), device_key("post-1").public)


def test_a_signature_that_leaves_the_body_out_proves_nothing() -> None:
    headers = signed_over(("@method", "@path", "content-type"), BODY)
    evidence = Evidence("POST", PATH, headers, headers["signature-input"], headers["signature"], BODY)
    assert not signature_holds(evidence, PUBLIC)


def test_sealed_evidence_belongs_to_its_device_and_server() -> None:
    sealed = seal_evidence(SECRETS, evidence_of(signed(BODY)), DOOR.number, NONCE)
    for secrets, device, data in (
        (SECRETS, POST.number, sealed),
        (STRANGER, DOOR.number, sealed),
        (SECRETS, DOOR.number, sealed[:-1]),
    ):
        with pytest.raises(EvidenceBroken):
            open_evidence(secrets, data, device)
