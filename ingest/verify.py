"""Step 2: who signed this request, and does the signature hold?

Follows RFC 9421 section 3.2, with RFC 9530 for the body. The checks run from the cheapest to the dearest, but
whether a key is revoked is said only to whoever proves to hold it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from events import problems
from events.devices import Device, DeviceKey
from events.problems import ProblemError
from events.scans import Evidence
from ingest.limits import EdgeLimits
from keys import http_signatures
from keys.http_signatures import MalformedSignature, SignatureInput
from keys.keyring import Keyring

ALWAYS_COVERED: Final = ("@method", "@path", "content-type", "content-digest")
COVERED_WITHOUT_BODY: Final = ("@method", "@path")
"""Of a request that has none: a question."""
DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Request(msgspec.Struct, frozen=True):
    """A request as received.

    `path` is percent-encoded, `query` without its `?`, `authority` without the scheme's default port. Header names
    are lower-case, and several fields of one name are joined by `, `. `body` is as sent, compressed or not.
    """

    method: str
    path: str
    query: str
    authority: str
    headers: dict[str, str]
    body: bytes


def headers_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """The header fields of an ASGI scope as a `Request` has them."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.lower().decode("latin-1"), raw_value.strip(b" \t").decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def request_of(scope: Mapping[str, Any], headers: dict[str, str], body: bytes) -> Request:
    """The request of an ASGI scope, as its signature sees it; `headers` are `headers_of` the scope."""
    path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    return Request(
        method=scope["method"],
        path=path.partition("?")[0] if "?" in path else path,  # not every server takes the query away
        query=scope["query_string"].decode("latin-1"),
        authority=headers.get("host", "").lower().removesuffix(DEFAULT_PORTS.get(scope.get("scheme", "http"), "")),
        headers=headers,
        body=body,
    )


class Verified(msgspec.Struct, frozen=True):
    """A request whose signature holds: who signed it with what, the 64 bytes of the signature, and its evidence."""

    device: Device
    key: DeviceKey
    signature: bytes
    evidence: Evidence


def any_rate(device: int) -> None:
    """For requests whose rate nobody bounds."""


def verify_request(
    request: Request,
    keyring: Keyring,
    now_ms: int,
    limits: EdgeLimits,
    require_rate: Callable[[int], None] = any_rate,
    *,
    always_covered: tuple[str, ...] = ALWAYS_COVERED,
) -> Verified:
    """Verify a request, or raise `ProblemError` with the one way in which it fails.

    `always_covered` must be signed, and `@query` and content-encoding where there are any.
    `require_rate` raises it for the number of a device that may not send now, before the dear checks; whether the
    request is that device's is not known yet.
    """
    headers = request.headers
    # 1. There is a signature, and it can be read.
    if "signature" not in headers or "signature-input" not in headers:
        raise ProblemError(problems.SIGNATURE_MISSING.problem(_missing_detail(headers)))
    try:
        signed = http_signatures.parse_signature_input(headers["signature-input"])
        signature = http_signatures.parse_signature(headers["signature"], signed.label)
    except MalformedSignature as error:
        raise ProblemError(problems.SIGNATURE_MALFORMED.problem(str(error))) from error
    # 2. It covers all that decides what the request means.
    _require_coverage(signed, request, always_covered)
    # 3. The key is a device's.
    key = keyring.key(signed.keyid)
    device = keyring.device(key.device) if key is not None else None
    if key is None or device is None:
        raise ProblemError(problems.KEY_UNKNOWN.problem("keyid names no key in the registry."))
    require_rate(device.number)
    # 4. It is fresh: an old request must not be played again once its replay key is forgotten.
    _require_fresh(signed, now_ms, limits)
    try:
        # 5. The body is the one that was signed.
        digest = headers["content-digest"] if "content-digest" in signed.components else None
        if digest is not None and not http_signatures.content_digest_matches(digest, request.body):
            detail = f"The digest does not fit the {len(request.body)} bytes received."
            raise ProblemError(problems.DIGEST_MISMATCH.problem(detail))
        # 6. The signature is the key's.
        base = http_signatures.signature_base(
            signed,
            method=request.method,
            path=request.path,
            query=request.query,
            authority=request.authority,
            headers=headers,
        )
    except MalformedSignature as error:
        raise ProblemError(problems.SIGNATURE_MALFORMED.problem(str(error))) from error
    if not http_signatures.verify_signature(http_signatures.public_key_of(key.public), signature, base):
        raise ProblemError(problems.SIGNATURE_INVALID.problem())
    # 7. The key may still sign. Said last: it is the holder's business alone.
    _require_in_force(key, now_ms)
    return Verified(device, key, signature, _evidence(request, signed))


def _missing_detail(headers: dict[str, str]) -> str:
    missing = [name for name in ("Signature-Input", "Signature") if name.lower() not in headers]
    return f"The request has no {' and no '.join(missing)} header."


def _require_coverage(signed: SignatureInput, request: Request, always: tuple[str, ...]) -> None:
    required = list(always)
    if "content-encoding" in request.headers:
        required.append("content-encoding")
    if request.query:
        required.append("@query")
    missing = [name for name in required if name not in signed.components]
    if missing:
        raise ProblemError(problems.SIGNATURE_INCOMPLETE.problem(f"Not covered: {', '.join(missing)}."))
    absent = [name for name in signed.components if name[0] != "@" and name not in request.headers]
    if absent:
        detail = f"Covered, but not among the request's headers: {', '.join(absent)}."
        raise ProblemError(problems.SIGNATURE_MALFORMED.problem(detail))


def _require_fresh(signed: SignatureInput, now_ms: int, limits: EdgeLimits) -> None:
    now = now_ms // 1000
    age = now - signed.created
    if age > limits.signature_age_seconds_max:
        off = f"created is {age} s behind it, more than {limits.signature_age_seconds_max} s."
    elif -age > limits.clock_skew_seconds_max:
        off = f"created is {-age} s ahead of it, more than {limits.clock_skew_seconds_max} s."
    elif signed.expires is not None and signed.expires <= now:
        off = f"the signature expired {now - signed.expires} s before it."
    else:
        return
    raise ProblemError(problems.SIGNATURE_STALE.problem(f"The server's time is {now} (Unix seconds); {off}"))


def _require_in_force(key: DeviceKey, now_ms: int) -> None:
    if key.revoked_from is not None and key.revoked_from <= now_ms:
        detail = "The key is revoked."
    elif key.valid_to is not None and key.valid_to <= now_ms:
        detail = "The key's time is over: it was replaced by a newer one."
    elif now_ms < key.valid_from:
        detail = f"The key is valid only from {key.valid_from} (Unix milliseconds)."
    else:
        return
    raise ProblemError(problems.KEY_REVOKED.problem(detail))


def _evidence(request: Request, signed: SignatureInput) -> Evidence:
    covered = {name: request.headers[name] for name in signed.components if name[0] != "@"}
    if "@authority" in signed.components:
        covered["host"] = request.authority
    return Evidence(
        method=request.method,
        path=f"{request.path}?{request.query}" if request.query else request.path,
        headers=covered,
        signature_input=request.headers["signature-input"],
        signature=request.headers["signature"],
        body=request.body,
    )
