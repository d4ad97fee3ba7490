"""HTTP Message Signatures (RFC 9421) and Content-Digest (RFC 9530): the strict subset that scanners speak.

One Ed25519 signature per request. A covered component is `@method`, `@path`, `@query`, `@authority` or a plain
header field, without component parameters. Every header must be in the canonical spelling of Structured Fields
(RFC 8941, section 4.1): what is signed is then exactly what was sent, and nothing is guessed.
"""

import binascii
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_INPUT_CHARS_MAX: Final = 2_048
SIGNATURE_HEADER_CHARS_MAX: Final = 256
CONTENT_DIGEST_CHARS_MAX: Final = 1_024
FIELD_VALUE_CHARS_MAX: Final = 8_192
COMPONENTS_MAX: Final = 32
SIGNATURE_BYTES: Final = 64
ALGORITHM: Final = "ed25519"
LABEL: Final = "sig"
"""The label that `sign_request` gives; any label is read."""
FORMS_CACHED_MAX: Final = 4_096
"""Of the headers read last, whoever sent them."""
FORM_CHARS_CACHED_MAX: Final = 512
"""Above, a header is read anew each time: it is kept before anybody knows who sent it, so it must be small."""
PUBLIC_KEYS_CACHED_MAX: Final = 16_384
"""Of the devices that signed last, half a kilobyte each."""

_KEY: Final = r"[a-z*][a-z0-9_.*-]*"
_STRING: Final = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_INTEGER: Final = r"(?:0|[1-9][0-9]{0,14})"
_NAME: Final = r"@?[a-z0-9!#$%&'*+.^_`|~-]+"
_INPUT: Final = re.compile(
    rf'(?P<label>{_KEY})=(?P<params_text>\((?P<components>(?:"{_NAME}"(?: "{_NAME}")*)?)\)'
    rf"(?P<params>(?:;{_KEY}=(?:{_STRING}|{_INTEGER}))*))"
)
# A component's name holds no `)`: the first one ends the list, and what follows it here is the parameter itself.
_CREATED_FIRST: Final = re.compile(
    rf"(?P<before>[^)]*\);created=)(?P<created>{_INTEGER})(?P<after>(?:;.*)?)", re.DOTALL
)
_PARAM: Final = re.compile(rf";({_KEY})=({_STRING}|{_INTEGER})")
_ESCAPED: Final = re.compile(r"\\(.)")
_BYTES_MEMBER: Final = re.compile(rf"(?P<key>{_KEY})=:(?P<base64>[A-Za-z0-9+/]*={{0,2}}):")
_MEMBER_SEPARATOR: Final = re.compile(r"[ \t]*,[ \t]*")
_VISIBLE: Final = re.compile(r"[!-~]*")
_FIELD_VALUE: Final = re.compile(r"[\t -~]*")
_PATH: Final = re.compile(r"/[!-~]*")
_METHOD: Final = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]+")
_TEXT_PARAMS: Final = frozenset({"keyid", "alg", "nonce", "tag"})
_TIME_PARAMS: Final = frozenset({"created", "expires"})
_UNSIGNABLE_FIELDS: Final = frozenset({"signature", "signature-input"})
_DIGESTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "sha-256": lambda body: hashlib.sha256(body).digest(),
    "sha-512": lambda body: hashlib.sha512(body).digest(),
}
_DIGEST_BYTES: Final = {"sha-256": 32, "sha-512": 64}
_SHA256_ALONE_CHARS: Final = len("sha-256=::") + 44


class MalformedSignature(ValueError):
    """A signature header that cannot be read, or does not fit the request. The message is fit to be sent back."""


class SignatureInput(msgspec.Struct, frozen=True, kw_only=True):
    """One member of `Signature-Input`, read.

    `created` and `expires` are Unix seconds. `params_text` is the member's value as sent: the last line of the
    signature base holds it to the letter.
    """

    label: str
    components: tuple[str, ...]
    created: int
    keyid: str
    expires: int | None
    alg: str | None
    nonce: str | None
    tag: str | None
    params_text: str


def parse_signature_input(value: str) -> SignatureInput:
    """Reads a `Signature-Input` header of exactly one label. Raises `MalformedSignature`.

    A device's headers differ in `created` alone, so the form of the latest is kept where it is of common length.
    """
    if len(value) > SIGNATURE_INPUT_CHARS_MAX:
        raise MalformedSignature(f"Signature-Input is over {SIGNATURE_INPUT_CHARS_MAX} characters")
    text = value.strip(" \t")
    timed = _CREATED_FIRST.fullmatch(text)
    if timed is None:
        return _member(text)
    before, created, after = timed.groups()
    form = (_form if len(text) <= FORM_CHARS_CACHED_MAX else _form.__wrapped__)(before, after)
    return SignatureInput(
        label=form.label,
        components=form.components,
        created=int(created),
        keyid=form.keyid,
        expires=form.expires,
        alg=form.alg,
        nonce=form.nonce,
        tag=form.tag,
        params_text=text[len(form.label) + 1 :],
    )


@functools.lru_cache(FORMS_CACHED_MAX)
def _form(before: str, after: str) -> SignatureInput:
    """What two members have in common that differ in the number between these texts alone."""
    return _member(f"{before}0{after}")


def _member(text: str) -> SignatureInput:
    member = _INPUT.fullmatch(text)
    if member is None:
        raise MalformedSignature('Signature-Input is not one label=("component" …);created=…;keyid="…"')
    components = tuple(quoted[1:-1] for quoted in member["components"].split(" ") if quoted)
    if len(components) > COMPONENTS_MAX:
        raise MalformedSignature(f"Signature-Input covers over {COMPONENTS_MAX} components")
    if len(set(components)) != len(components):
        raise MalformedSignature("Signature-Input covers a component twice")
    texts, times = _parameters(member["params"])
    if "created" not in times or "keyid" not in texts:
        raise MalformedSignature("Signature-Input lacks created or keyid")
    if texts.get("alg", ALGORITHM) != ALGORITHM:
        raise MalformedSignature(f"the only algorithm is {ALGORITHM}")
    return SignatureInput(
        label=member["label"],
        components=components,
        created=times["created"],
        keyid=texts["keyid"],
        expires=times.get("expires"),
        alg=texts.get("alg"),
        nonce=texts.get("nonce"),
        tag=texts.get("tag"),
        params_text=member["params_text"],
    )


def _parameters(text: str) -> tuple[dict[str, str], dict[str, int]]:
    """The string and the integer parameters of a member's `;name=value` text, which fits `_INPUT` already."""
    texts: dict[str, str] = {}
    times: dict[str, int] = {}
    for name, value in _PARAM.findall(text):
        if name in texts or name in times:
            raise MalformedSignature(f"the parameter {name} is there twice")
        if name in _TEXT_PARAMS and value[0] == '"':
            texts[name] = _ESCAPED.sub(r"\1", value[1:-1])
        elif name in _TIME_PARAMS and value[0] != '"':
            times[name] = int(value)
        else:
            raise MalformedSignature(f"the parameter {name} is not known, or of another type")
    return texts, times


def _bytes_members(value: str, header: str, chars_max: int) -> dict[str, bytes]:
    """A dictionary of byte sequences: `key=:base64:, …`. Raises `MalformedSignature`."""
    if len(value) > chars_max:
        raise MalformedSignature(f"{header} is over {chars_max} characters")
    members: dict[str, bytes] = {}
    for text in _MEMBER_SEPARATOR.split(value.strip(" \t")):
        member = _BYTES_MEMBER.fullmatch(text)
        if member is None:
            raise MalformedSignature(f"{header} is not name=:base64:")
        if member["key"] in members:
            raise MalformedSignature(f"{header} has a name twice")
        members[member["key"]] = _from_base64(member["base64"], header)
    return members


def _from_base64(text: str, header: str) -> bytes:
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise MalformedSignature(f"{header} holds broken base64") from None
    # Bits left over at the end are ignored by the decoder: only the canonical spelling counts.
    if binascii.b2a_base64(data, newline=False).decode("ascii") != text:
        raise MalformedSignature(f"{header} holds base64 that is not canonical")
    return data


def parse_signature(value: str, label: str) -> bytes:
    """The 64 bytes of a `Signature` header that has this label and no other. Raises `MalformedSignature`."""
    members = _bytes_members(value, "Signature", SIGNATURE_HEADER_CHARS_MAX)
    if list(members) != [label]:
        raise MalformedSignature("Signature must have the one label of Signature-Input")
    if len(members[label]) != SIGNATURE_BYTES:
        raise MalformedSignature(f"an Ed25519 signature has {SIGNATURE_BYTES} bytes")
    return members[label]


def signature_base(
    sig: SignatureInput, *, method: str, path: str, query: str, authority: str, headers: Mapping[str, str]
) -> bytes:
    """The bytes that were signed (RFC 9421, section 2.5). Raises `MalformedSignature`.

    `path` is the target's path as sent, still percent-encoded; `query` what follows its `?` (`""` where there is
    none); `authority` the Host, without the scheme's default port. `headers` maps lower-case names to values,
    several fields of one name joined with `, ` already.
    """
    lines: list[str] = []
    for component in sig.components:
        match component:
            case "@method":
                content = _checked(_METHOD, method, component)
            case "@path":
                content = _checked(_PATH, path or "/", component)
            case "@query":
                content = _checked(_VISIBLE, f"?{query}", component)
            case "@authority":
                content = _checked(_VISIBLE, authority.lower(), component)
            case _:
                content = _field(component, headers)
        lines.append(f'"{component}": {content}')
    lines.append(f'"@signature-params": {sig.params_text}')
    return "\n".join(lines).encode("ascii")


def _field(name: str, headers: Mapping[str, str]) -> str:
    """The value of a covered header field (RFC 9421, section 2.1)."""
    if name.startswith("@") or name in _UNSIGNABLE_FIELDS:
        raise MalformedSignature(f"the component {name} is not supported")
    value = headers.get(name)
    if value is None:
        raise MalformedSignature(f"the covered component {name} is not in the request")
    return _checked(_FIELD_VALUE, value.strip(" \t"), name)


def _checked(pattern: re.Pattern[str], value: str, component: str) -> str:
    """A line break in a value would forge a line of the signature base, so only plain ASCII may pass."""
    if len(value) > FIELD_VALUE_CHARS_MAX or pattern.fullmatch(value) is None:
        raise MalformedSignature(f"the value of {component} is too long or has characters that cannot be signed")
    return value


def content_digest(body: bytes) -> str:
    """The `Content-Digest` of a body as sent (after compression): `sha-256=:…:`."""
    return f"sha-256=:{binascii.b2a_base64(hashlib.sha256(body).digest(), newline=False).decode('ascii')}:"


def content_digest_matches(value: str, body: bytes) -> bool:
    """Whether every sha-256 and sha-512 digest of a `Content-Digest` header fits the body.

    Other algorithms beside one of these are passed over. Raises `MalformedSignature` where the header cannot be read or
    names neither of the two.
    """
    if len(value) == _SHA256_ALONE_CHARS and value == content_digest(body):
        return True
    members = _bytes_members(value, "Content-Digest", CONTENT_DIGEST_CHARS_MAX)
    known = {name: digest for name, digest in members.items() if name in _DIGESTS}
    if not known:
        raise MalformedSignature("Content-Digest has neither sha-256 nor sha-512")
    for name, digest in known.items():
        if len(digest) != _DIGEST_BYTES[name]:
            raise MalformedSignature(f"a {name} digest has {_DIGEST_BYTES[name]} bytes")
    return all(_DIGESTS[name](body) == digest for name, digest in known.items())


def sign_request(
    private_key: Ed25519PrivateKey,
    keyid: str,
    *,
    method: str,
    path: str,
    content_type: str,
    body: bytes,
    created: int,
    content_encoding: str | None = None,
) -> dict[str, str]:
    """The headers that a signed request adds. `body` is as sent, `created` in Unix seconds.

    Covers @method, @path, content-type, content-digest, and content-encoding where there is one. Raises
    `MalformedSignature` where an argument could not be signed.
    """
    headers = {"Content-Type": content_type}
    if content_encoding is not None:
        headers["Content-Encoding"] = content_encoding
    headers["Content-Digest"] = content_digest(body)
    covered = {name.lower(): value for name, value in headers.items()}
    components = ("@method", "@path", *covered)
    return headers | _signed(
        private_key, keyid, components, method=method, path=path, query="", headers=covered, created=created
    )


def sign_question(
    private_key: Ed25519PrivateKey, keyid: str, *, path: str, created: int, query: str = "", method: str = "GET"
) -> dict[str, str]:
    """The headers of a signed request without a body. `query` without its `?`, `created` in Unix seconds.

    Covers @method and @path, and @query where there is one. Raises `MalformedSignature`.
    """
    components = ("@method", "@path", "@query") if query else ("@method", "@path")
    return _signed(private_key, keyid, components, method=method, path=path, query=query, headers={}, created=created)


def _signed(
    private_key: Ed25519PrivateKey,
    keyid: str,
    components: Iterable[str],
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    created: int,
) -> dict[str, str]:
    """The two headers of a signature over these components."""
    names = " ".join(f'"{name}"' for name in components)
    quoted_keyid = keyid.replace("\\", "\\\\").replace('"', '\\"')
    signature_input = f'{LABEL}=({names});created={created};keyid="{quoted_keyid}";alg="{ALGORITHM}"'
    base = signature_base(
        parse_signature_input(signature_input), method=method, path=path, query=query, authority="", headers=headers
    )
    signature = binascii.b2a_base64(private_key.sign(base), newline=False).decode("ascii")
    return {"Signature-Input": signature_input, "Signature": f"{LABEL}=:{signature}:"}


@functools.lru_cache(PUBLIC_KEYS_CACHED_MAX)
def public_key_of(raw: bytes) -> Ed25519PublicKey:
    """The key of these 32 bytes. Raises `ValueError` where there are more or fewer."""
    return Ed25519PublicKey.from_public_bytes(raw)


def verify_signature(public_key: Ed25519PublicKey, signature: bytes, base: bytes) -> bool:
    """Whether the signature of the base was made with the private half of this key."""
    try:
        public_key.verify(signature, base)
    except InvalidSignature:
        return False
    return True
