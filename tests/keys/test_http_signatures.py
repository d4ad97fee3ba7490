"""HTTP signatures: the specifications' own examples, everything malformed, and every changed bit."""

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from keys import http_signatures
from keys.http_signatures import (
    COMPONENTS_MAX,
    CONTENT_DIGEST_CHARS_MAX,
    FIELD_VALUE_CHARS_MAX,
    FORM_CHARS_CACHED_MAX,
    SIGNATURE_HEADER_CHARS_MAX,
    SIGNATURE_INPUT_CHARS_MAX,
    MalformedSignature,
    SignatureInput,
    content_digest,
    content_digest_matches,
    parse_signature,
    parse_signature_input,
    sign_request,
    signature_base,
    verify_signature,
)

CREATED = 1_634_000_000
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BODY = b'{"hello": "world"}'
MINIMAL = 'sig=("@method");created=1;keyid="k"'


def base_of(value: str, *, headers: dict[str, str] | None = None, path: str = "/v1/scans") -> bytes:
    return signature_base(
        parse_signature_input(value),
        method="POST",
        path=path,
        query="",
        authority="example.com",
        headers=headers or {},
    )


# RFC 9421, appendix B.2.6, with the key of B.1.4

RFC_PRIVATE = "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"
RFC_PUBLIC = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
RFC_HEADERS = {
    "host": "example.com",
    "date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "content-type": "application/json",
    "content-length": "18",
}
RFC_INPUT = (
    'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
    ';created=1618884473;keyid="test-key-ed25519"'
)
RFC_SIGNATURE = "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
RFC_BASE = b"""\
"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length")\
;created=1618884473;keyid="test-key-ed25519\""""


def rfc_base() -> bytes:
    return signature_base(
        parse_signature_input(RFC_INPUT),
        method="POST",
        path="/foo",
        query="param=Value&Pet=dog",
        authority="example.com",
        headers=RFC_HEADERS,
    )


def test_rfc_9421_b_2_6_signature_base() -> None:
    assert rfc_base() == RFC_BASE


def test_rfc_9421_b_2_6_signature() -> None:
    private = load_der_private_key(base64.b64decode(RFC_PRIVATE), None)
    assert isinstance(private, Ed25519PrivateKey)
    signature = parse_signature(RFC_SIGNATURE, "sig-b26")
    assert private.sign(rfc_base()) == signature
    assert verify_signature(Ed25519PublicKey.from_public_bytes(base64.b64decode(RFC_PUBLIC)), signature, rfc_base())


def test_rfc_9421_2_2_derived_components() -> None:
    """Sections 2.2.3, 2.2.6 and 2.2.7: authority in lower case, an empty path is `/`, an absent query is `?`."""
    sig = parse_signature_input('sig1=("@authority" "@path" "@query");created=1;keyid="k"')
    base = signature_base(sig, method="GET", path="", query="", authority="WWW.Example.com", headers={})
    assert base.splitlines()[:3] == [b'"@authority": www.example.com', b'"@path": /', b'"@query": ?']
    base = signature_base(sig, method="GET", path="/path", query="param=value&foo=%20", authority="a:8470", headers={})
    assert base.splitlines()[:3] == [b'"@authority": a:8470', b'"@path": /path', b'"@query": ?param=value&foo=%20']


def test_rfc_9421_2_1_a_field_loses_the_white_space_around_it_and_may_be_empty() -> None:
    base = base_of(
        'sig=("x-ows-header" "x-empty-header");created=1;keyid="k"',
        headers={"x-ows-header": "  Leading and trailing whitespace. \t", "x-empty-header": ""},
    )
    assert base.splitlines()[:2] == [b'"x-ows-header": Leading and trailing whitespace.', b'"x-empty-header": ']


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a",
        ),
    ],
    ids=["test-1", "test-2", "test-3"],
)
def test_rfc_8032_7_1(seed: str, public: str, message: str, signature: str) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    assert private.sign(bytes.fromhex(message)).hex() == signature
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    assert verify_signature(key, bytes.fromhex(signature), bytes.fromhex(message))
    assert not verify_signature(key, bytes.fromhex(signature), bytes.fromhex(message) + b"\0")


def test_a_signature_has_one_form() -> None:
    """RFC 8032, section 5.1.7: S + L verifies the same equation and must be refused, or a replay looks new."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = PRIVATE.sign(b"base")
    other = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert verify_signature(PRIVATE.public_key(), signature, b"base")
    assert not verify_signature(PRIVATE.public_key(), other, b"base")


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64])
def test_what_is_no_signature_does_not_verify(signature: bytes) -> None:
    assert not verify_signature(PRIVATE.public_key(), signature, b"base")


# RFC 9530


def test_rfc_9530_digests() -> None:
    """Appendix D (sha-256 of the JSON with its line feed) and RFC 9421, appendix B.2 (sha-512 without)."""
    assert content_digest(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert content_digest(BODY) == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    sha_512 = "WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew=="
    assert content_digest_matches(f"sha-512=:{sha_512}:", BODY)
    assert not content_digest_matches(f"sha-512=:{sha_512}:", BODY + b"\n")


SHA_256 = content_digest(BODY)
SHA_512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"


@pytest.mark.parametrize(
    "value",
    [
        SHA_256,
        SHA_512,
        f"{SHA_256}, {SHA_512}",
        f"{SHA_512},{SHA_256}",
        f"md5=:AAAA:, {SHA_256}",
        f" {SHA_256} ",
    ],
)
def test_a_digest_that_fits(value: str) -> None:
    assert content_digest_matches(value, BODY)
    assert not content_digest_matches(value, BODY[:-1])


def test_every_digest_must_fit() -> None:
    other = content_digest(b"another body")
    assert not content_digest_matches(f"{other}, {SHA_512}", BODY)
    assert not content_digest_matches(f"{SHA_512}, {other}", BODY)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=",
        "sha-256=::",
        "sha-256=:AAAA:",
        SHA_256.replace("=:", "=", 1),
        SHA_256[:-1],
        SHA_256[:-2] + ":",
        SHA_256 + ",",
        SHA_256 + ";q=1",
        SHA_256 + ", " + SHA_256,
        SHA_256.upper(),
        SHA_256.replace("E=:", "F=:"),
        SHA_256.replace("sha-256", "sha-512"),
        "md5=:AAAA:",
        "sha-256=:" + "A" * 42 + "==:",
        SHA_256 + "\n",
        SHA_256 + "\0",
        SHA_256 + ", a=:\N{FULLWIDTH LATIN CAPITAL LETTER A}:",
        SHA_256 + ", a=:" + "A" * CONTENT_DIGEST_CHARS_MAX + ":",
    ],
)
def test_a_digest_that_cannot_be_read(value: str) -> None:
    with pytest.raises(MalformedSignature, match=r"Content-Digest|digest has"):
        content_digest_matches(value, BODY)


# Signature-Input


def test_every_part_is_read() -> None:
    value = (
        'sig1=("@method" "@path" "content-type");created=5;keyid="gate.1"'
        ';alg="ed25519";expires=9;nonce="n\\"\\\\";tag="t"'
    )
    assert parse_signature_input(f" {value}\t") == SignatureInput(
        label="sig1",
        components=("@method", "@path", "content-type"),
        created=5,
        keyid="gate.1",
        expires=9,
        alg="ed25519",
        nonce='n"\\',
        tag="t",
        params_text=value.removeprefix("sig1="),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('sig=("@method")', ';keyid="k"'),
        ('sig=("@method")', ';keyid="k);created=7;x"'),
        ('sig=("@method")', ';keyid="k";nonce=");created=8"'),
        ('sig=("@method")', ';keyid="k";expires=9'),
        ('sig=("@method");keyid="k);created=7;x"', ""),
        ('sig=("@method");nonce=");created=8";keyid="k"', ";expires=9"),
    ],
)
def test_only_created_differs_in_a_form_that_was_read_before(before: str, after: str) -> None:
    read = {created: parse_signature_input(f"{before};created={created}{after}") for created in (0, 5, 1_634_000_000)}
    for created, signed in read.items():
        assert signed.created == created
        assert signed.params_text == f"{before};created={created}{after}".removeprefix("sig=")
    same = {created: replace(signed, created=0, params_text="") for created, signed in read.items()}
    assert same[0] == same[5] == same[1_634_000_000]
    assert same[0].keyid == ("k);created=7;x" if "created=7" in before + after else "k")
    assert same[0].expires == (9 if "expires" in after else None)


@pytest.mark.parametrize("created", ["", "-1", "01", "1.0", '"1"', "1234567890123456", "1;created=1", "1\n"])
def test_a_bad_created_is_refused_in_a_form_that_was_read_before(created: str) -> None:
    parse_signature_input('sig=("@method");created=1;keyid="k"')
    for _ in range(2):
        with pytest.raises(MalformedSignature):
            parse_signature_input(f'sig=("@method");created={created};keyid="k"')


@pytest.mark.parametrize(("beyond", "kept"), [(0, 1), (1, 0)])
def test_a_long_form_is_read_but_not_kept(beyond: int, kept: int) -> None:
    keyid = "k" * (FORM_CHARS_CACHED_MAX + beyond - len(MINIMAL) + 1)
    value = MINIMAL.replace('"k"', f'"{keyid}"')
    assert len(value) == FORM_CHARS_CACHED_MAX + beyond
    http_signatures._form.cache_clear()
    for _ in range(2):
        sig = parse_signature_input(f" {value} ")
        assert (sig.keyid, sig.created, sig.params_text) == (keyid, 1, value.removeprefix("sig="))
    assert http_signatures._form.cache_info().currsize == kept


def test_what_is_left_off_is_none() -> None:
    sig = parse_signature_input('*a.b_c-1=();keyid="k";created=0')
    assert (sig.label, sig.components, sig.created, sig.params_text) == ("*a.b_c-1", (), 0, '();keyid="k";created=0')
    assert (sig.expires, sig.alg, sig.nonce, sig.tag) == (None, None, None, None)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sig",
        "sig=",
        'sig=("@method")',
        'sig=("@method");created=1',
        'sig=("@method");keyid="k"',
        'Sig=("@method");created=1;keyid="k"',
        '1sig=("@method");created=1;keyid="k"',
        '=("@method");created=1;keyid="k"',
        'sig =("@method");created=1;keyid="k"',
        'sig= ("@method");created=1;keyid="k"',
        'sig=( "@method");created=1;keyid="k"',
        'sig=("@method" );created=1;keyid="k"',
        'sig=("@method"  "@path");created=1;keyid="k"',
        'sig=("@method""@path");created=1;keyid="k"',
        'sig=("@method", "@path");created=1;keyid="k"',
        'sig=("@method" "@method");created=1;keyid="k"',
        'sig=("date" "@path" "date");created=1;keyid="k"',
        'sig=("@method";req);created=1;keyid="k"',
        'sig=("content-digest";key="sha-256");created=1;keyid="k"',
        'sig=("Date");created=1;keyid="k"',
        'sig=("");created=1;keyid="k"',
        'sig=("@");created=1;keyid="k"',
        'sig=("a\\"b");created=1;keyid="k"',
        'sig=("a b");created=1;keyid="k"',
        'sig=("a:b");created=1;keyid="k"',
        'sig=(date);created=1;keyid="k"',
        'sig="@method";created=1;keyid="k"',
        'sig=("@method");created=1;keyid="k",',
        'sig=("@method");created=1;keyid="k", sig2=("@method");created=1;keyid="k"',
        MINIMAL + ", " + MINIMAL,
        'sig=("@method"); created=1;keyid="k"',
        'sig=("@method") ;created=1;keyid="k"',
        'sig=("@method");created=1;created=1;keyid="k"',
        'sig=("@method");created=1;keyid="k";keyid="k"',
        'sig=("@method");created="1";keyid="k"',
        'sig=("@method");created=1;keyid=1',
        'sig=("@method");created=1;keyid=k',
        'sig=("@method");created=1.0;keyid="k"',
        'sig=("@method");created=-1;keyid="k"',
        'sig=("@method");created=01;keyid="k"',
        'sig=("@method");created=+1;keyid="k"',
        'sig=("@method");created=1_0;keyid="k"',
        'sig=("@method");created=;keyid="k"',
        'sig=("@method");created;keyid="k"',
        'sig=("@method");created=1000000000000000;keyid="k"',
        'sig=("@method");created=\N{FULLWIDTH DIGIT ONE};keyid="k"',
        'sig=("@method");created=1;keyid="k',
        'sig=("@method");created=1;keyid="\\k"',
        'sig=("@method");created=1;keyid="k\n"',
        'sig=("@method");created=1;keyid="k\x7f"',
        'sig=("@method");created=1;keyid="ké"',
        'sig=("@method");created=1;keyid="k";alg="rsa-pss-sha512"',
        'sig=("@method");created=1;keyid="k";alg=ed25519',
        'sig=("@method");created=1;keyid="k";alg=""',
        'sig=("@method");created=1;keyid="k";expires="9"',
        'sig=("@method");created=1;keyid="k";other="x"',
        'sig=("@method");created=1;keyid="k";other=?1',
        'sig=("@method");created=1;keyid="k";nonce=:AAAA:',
        MINIMAL + "\n",
        MINIMAL + "\r\n" + MINIMAL,
        "\0" + MINIMAL,
        MINIMAL.replace("k", "k" * SIGNATURE_INPUT_CHARS_MAX),
        "sig=(" + " ".join(f'"h{n}"' for n in range(COMPONENTS_MAX + 1)) + ');created=1;keyid="k"',
    ],
)
def test_a_malformed_signature_input_is_refused(value: str) -> None:
    parse_signature_input(MINIMAL)
    with pytest.raises(MalformedSignature):
        parse_signature_input(value)


def test_the_limits_are_what_they_say() -> None:
    full = "sig=(" + " ".join(f'"h{n}"' for n in range(COMPONENTS_MAX)) + ');created=999999999999999;keyid="k"'
    assert len(parse_signature_input(full).components) == COMPONENTS_MAX
    longest = MINIMAL[:-1] + "k" * (SIGNATURE_INPUT_CHARS_MAX - len(MINIMAL)) + '"'
    assert len(longest) == SIGNATURE_INPUT_CHARS_MAX
    assert parse_signature_input(longest).label == "sig"
    with pytest.raises(MalformedSignature, match="over 2048"):
        parse_signature_input(longest[:-1] + 'k"')


# Signature

SIGNATURE = "sig=:" + base64.b64encode(bytes(range(64))).decode() + ":"


def test_a_signature_is_read() -> None:
    assert parse_signature(SIGNATURE, "sig") == bytes(range(64))
    assert parse_signature(f" {SIGNATURE} ", "sig") == bytes(range(64))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sig",
        "sig=::",
        "sig=:AAAA:",
        SIGNATURE.replace("sig", "sig2"),
        SIGNATURE + ", sig2=:AAAA:",
        "sig2=:AAAA:, " + SIGNATURE,
        SIGNATURE + ", " + SIGNATURE,
        SIGNATURE + ";a=1",
        SIGNATURE[:-1],
        SIGNATURE.replace("=:", "=", 1),
        SIGNATURE.replace("==:", "=:"),
        SIGNATURE.replace("==:", ":"),
        SIGNATURE.replace("w==:", "x==:"),
        SIGNATURE.replace("A", "-", 1),
        SIGNATURE.replace("AAEC", "AA\nEC"),
        SIGNATURE.replace("AAEC", "AA EC"),
        "sig=:" + base64.b64encode(bytes(63)).decode() + ":",
        "sig=:" + base64.b64encode(bytes(65)).decode() + ":",
        "sig=:" + "A" * SIGNATURE_HEADER_CHARS_MAX + ":",
        SIGNATURE + "\n",
    ],
)
def test_a_malformed_signature_is_refused(value: str) -> None:
    assert value != SIGNATURE
    with pytest.raises(MalformedSignature):
        parse_signature(value, "sig")


# The signature base


@pytest.mark.parametrize(
    "component",
    [
        "@target-uri",
        "@scheme",
        "@request-target",
        "@query-param",
        "@status",
        "@signature-params",
        "@made-up",
        "signature",
        "signature-input",
        "absent",
    ],
)
def test_a_component_that_cannot_be_had_is_refused(component: str) -> None:
    headers = {"signature": "x", "signature-input": "x", "@made-up": "x", "@status": "200"}
    with pytest.raises(MalformedSignature, match=component):
        base_of(f'sig=("{component}");created=1;keyid="k"', headers=headers)


@pytest.mark.parametrize(
    "value", ["a\nb", "a\rb", "a\0b", "a\x7fb", "é", "a\u2028b", "x" * (FIELD_VALUE_CHARS_MAX + 1)]
)
def test_a_value_that_could_forge_a_line_is_refused(value: str) -> None:
    sig = parse_signature_input('sig=("@method" "@path" "@query" "@authority" "x");created=1;keyid="k"')
    good = {"method": "GET", "path": "/", "query": "", "authority": "a"}
    assert signature_base(sig, headers={"x": "y"}, **good)
    with pytest.raises(MalformedSignature, match="the value of x"):
        signature_base(sig, headers={"x": value}, **good)
    for part in good:
        changed = good | {part: "/" + value if part == "path" else value}
        with pytest.raises(MalformedSignature, match=f"the value of @{part}"):
            signature_base(sig, headers={"x": "y"}, **changed)


@pytest.mark.parametrize("path", ["foo", "*", "/a b", "http://example.com/"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(MalformedSignature, match="@path"):
        base_of('sig=("@path");created=1;keyid="k"', path=path)


@pytest.mark.parametrize("method", ["", "post", "POST ", "PO ST"])
def test_a_method_that_is_none_is_refused(method: str) -> None:
    with pytest.raises(MalformedSignature, match="@method"):
        signature_base(parse_signature_input(MINIMAL), method=method, path="/", query="", authority="", headers={})


# Signing


def signed(body: bytes = BODY, *, content_encoding: str | None = None) -> dict[str, str]:
    return sign_request(
        PRIVATE,
        "cong-chinh.1",
        method="POST",
        path="/v1/scans",
        content_type="application/json",
        body=body,
        created=CREATED,
        content_encoding=content_encoding,
    )


def verifies(headers: dict[str, str], body: bytes, *, method: str = "POST", path: str = "/v1/scans") -> bool:
    """The whole of what a server does with a signed request; unreadable is refused as well."""
    fields = {name.lower(): value for name, value in headers.items()}
    try:
        sig = parse_signature_input(fields["signature-input"])
        base = signature_base(sig, method=method, path=path, query="", authority="", headers=fields)
        return (
            {"@method", "@path", "content-type", "content-digest"} <= set(sig.components)
            and content_digest_matches(fields["content-digest"], body)
            and verify_signature(PRIVATE.public_key(), parse_signature(fields["signature"], sig.label), base)
        )
    except MalformedSignature:
        return False


def test_the_worked_example() -> None:
    """The headers of docs/api.md; a client in any language can be held against them."""
    assert signed() == {
        "Content-Type": "application/json",
        "Content-Digest": "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        "Signature-Input": (
            'sig=("@method" "@path" "content-type" "content-digest")'
            ';created=1634000000;keyid="cong-chinh.1";alg="ed25519"'
        ),
        "Signature": "sig=:GKT+LGJxa4sj0DT3qWKkaHML0354//bxiKFy2PiUGK/iNKRSg6rVq7vej4KX5uDRXfUhM1qiEbAk2hfE4FSoBA==:",
    }


def test_what_is_signed_verifies() -> None:
    assert verifies(signed(), BODY)
    assert verifies(signed(b""), b"")


def test_a_content_encoding_is_covered() -> None:
    headers = signed(content_encoding="gzip")
    assert '"content-encoding"' in headers["Signature-Input"]
    assert verifies(headers, BODY)
    assert not verifies(headers | {"Content-Encoding": "zstd"}, BODY)
    assert not verifies({name: value for name, value in headers.items() if name != "Content-Encoding"}, BODY)


def test_another_method_path_or_type_does_not_verify() -> None:
    headers = signed()
    assert not verifies(headers, BODY, method="PUT")
    assert not verifies(headers, BODY, path="/v1/scans/")
    assert not verifies(headers | {"Content-Type": "application/msgpack"}, BODY)


def test_every_bit_of_the_headers_counts() -> None:
    headers = signed()
    for name, value in headers.items():
        for index in range(len(value)):
            for bit in range(8):
                changed = value[:index] + chr(ord(value[index]) ^ 1 << bit) + value[index + 1 :]
                assert not verifies(headers | {name: changed}, BODY), f"{name}, character {index}, bit {bit}"


@given(st.binary(min_size=1, max_size=200), st.data())
@settings(deadline=None, max_examples=100)
def test_every_bit_of_the_body_counts(body: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    headers = signed(body)
    assert verifies(headers, body)
    assert not verifies(headers, bytes(changed))


def test_a_keyid_is_quoted() -> None:
    headers = sign_request(PRIVATE, 'a"b\\c', method="POST", path="/", content_type="a/b", body=b"", created=CREATED)
    assert parse_signature_input(headers["Signature-Input"]).keyid == 'a"b\\c'


@pytest.mark.parametrize(
    ("keyid", "content_type", "created"),
    [("k\n", "a/b", CREATED), ("k", "a/b\r\nX: y", CREATED), ("k", "a/b", -1), ("k" * 3_000, "a/b", CREATED)],
)
def test_what_cannot_be_signed_is_refused(keyid: str, content_type: str, created: int) -> None:
    with pytest.raises(MalformedSignature):
        sign_request(PRIVATE, keyid, method="POST", path="/", content_type=content_type, body=b"", created=created)


# Nothing but MalformedSignature is ever raised

HOSTILE = (
    st.text(max_size=300)
    | st.text('sig=("@method date");,:created=1 keyid="k"\\\x00', max_size=200)
    | st.builds(lambda cut, tail: RFC_INPUT[:cut] + tail, st.integers(0, len(RFC_INPUT)), st.text(max_size=20))
    | st.builds(lambda cut, tail: SIGNATURE[:cut] + tail, st.integers(0, len(SIGNATURE)), st.text(max_size=20))
)


@given(HOSTILE, st.text(max_size=20), st.dictionaries(st.sampled_from(["date", "content-type", "a"]), st.text()))
@settings(deadline=None, max_examples=500)
def test_hostile_headers_raise_nothing_else(value: str, part: str, headers: dict[str, str]) -> None:
    for read in (
        lambda: parse_signature(value, "sig"),
        lambda: content_digest_matches(value, BODY),
        lambda: signature_base(
            parse_signature_input(value), method=part, path="/" + part, query=part, authority=part, headers=headers
        ),
    ):
        with contextlib.suppress(MalformedSignature):
            read()


STRINGS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


@given(
    st.lists(st.sampled_from(["@method", "@path", "@query", "@authority", "date", "x-a"]), unique=True),
    st.integers(0, 10**15 - 1),
    STRINGS,
    STRINGS,
)
@settings(deadline=None)
def test_what_is_well_formed_is_read(components: list[str], created: int, keyid: str, nonce: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    inner = " ".join(f'"{name}"' for name in components)
    sig = parse_signature_input(f"a=({inner});created={created};keyid={quoted(keyid)};nonce={quoted(nonce)}")
    assert (sig.components, sig.created, sig.keyid, sig.nonce) == (tuple(components), created, keyid, nonce)
