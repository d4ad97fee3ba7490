"""Another implementation of RFC 9421 and RFC 9530 reads what we sign, and we read what it signs."""

import datetime
import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    InvalidSignature,
    MappingKeyResolver,
    algorithms,
)

from keys.http_signatures import (
    content_digest_matches,
    parse_signature,
    parse_signature_input,
    sign_request,
    signature_base,
    verify_signature,
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CREATED = 1_634_000_000
KEYID = "cong-chinh.1"
RESOLVER = MappingKeyResolver(public_keys={KEYID: PRIVATE.public_key()}, private_keys={KEYID: PRIVATE})
BODY = b'{"scans":[]}'
COMPONENTS = ("@method", "@path", "@query", "@authority", "content-type", "content-digest", "date")


class Message:
    """A request in the shape that the other implementation asks for."""

    def __init__(self, method: str, url: str, headers: dict[str, str]) -> None:
        self.method = method
        self.url = url
        self.headers = headers


@pytest.mark.parametrize("content_encoding", [None, "zstd"])
def test_the_other_verifies_what_we_sign(content_encoding: str | None) -> None:
    headers = sign_request(
        PRIVATE,
        KEYID,
        method="POST",
        path="/v1/scans",
        content_type="application/json",
        body=BODY,
        created=CREATED,
        content_encoding=content_encoding,
    )
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=RESOLVER)
    message = Message("POST", "https://example.com/v1/scans", headers)
    (result,) = verifier.verify(message, max_age=None, body=BODY)
    assert result.parameters == {"created": CREATED, "keyid": KEYID, "alg": "ed25519"}
    message.method = "PUT"
    with pytest.raises(InvalidSignature):
        verifier.verify(message, max_age=None, body=BODY)


@pytest.mark.parametrize(
    "components", [*itertools.combinations(COMPONENTS, 2), COMPONENTS, COMPONENTS[::-1]], ids="+".join
)
@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("https://Example.com/v1/scans", "/v1/scans", ""),
        ("https://example.com:8470/a%20b?x=1&y=%C3%A9", "/a%20b", "x=1&y=%C3%A9"),
        ("https://example.com", "", ""),
    ],
)
def test_we_verify_what_the_other_signs(components: tuple[str, ...], url: str, path: str, query: str) -> None:
    headers = {"Content-Type": "application/json", "Date": "Tue, 12 Oct 2021 00:53:20 GMT"}
    signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=RESOLVER)
    signer.sign(
        Message("POST", url, headers),
        key_id=KEYID,
        created=datetime.datetime.fromtimestamp(CREATED, datetime.UTC),
        nonce='a "nonce"\\',
        tag="truyvet",
        covered_component_ids=components,
        body=BODY,
    )
    fields = {name.lower(): value for name, value in headers.items()}
    sig = parse_signature_input(fields["signature-input"])
    authority = url.split("/")[2]
    base = signature_base(sig, method="POST", path=path, query=query, authority=authority, headers=fields)
    assert set(sig.components) == {*components, "content-digest"}
    assert (sig.created, sig.keyid, sig.nonce, sig.tag) == (CREATED, KEYID, 'a "nonce"\\', "truyvet")
    assert verify_signature(PRIVATE.public_key(), parse_signature(fields["signature"], sig.label), base)
    assert content_digest_matches(fields["content-digest"], BODY)
