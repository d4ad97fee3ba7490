"""Refusals of a whole request, as RFC 9457 problem details with stable types and what to do next."""

from typing import Final

import msgspec

from events import codec

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_TYPE_BASE: Final = "https://truyvet.org/problems/"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every error answer holds. `type` is stable and documented; `action` says what to do next."""

    type: str
    title: str
    status: int
    detail: str = ""
    action: str = ""
    pointer: str = ""
    retry_after_seconds: int = 0

    @property
    def name(self) -> str:
        """What the catalogue calls it: the last part of `type`."""
        return self.type.removeprefix(PROBLEM_TYPE_BASE)

    def body(self) -> bytes:
        """The JSON body, to be sent as `application/problem+json`."""
        return codec.to_json(self)


class Kind(msgspec.Struct, frozen=True):
    """One way to fail: its name (the last part of `type`), status, title and advice."""

    name: str
    status: int
    title: str
    action: str
    retry_after_seconds: int = 0

    def problem(self, detail: str = "", *, pointer: str = "", retry_after_seconds: int | None = None) -> Problem:
        """This way to fail, with what happened this time. `detail` must hold no personal data."""
        return Problem(
            type=PROBLEM_TYPE_BASE + self.name,
            title=self.title,
            status=self.status,
            detail=detail,
            action=self.action,
            pointer=pointer,
            retry_after_seconds=self.retry_after_seconds if retry_after_seconds is None else retry_after_seconds,
        )


class ProblemError(Exception):
    """Carries a problem up to the edge of a service."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem: Final = problem


CATALOGUE: Final[dict[str, Kind]] = {}
"""Every way to fail by name; `docs/api.md` lists the same."""


def _kind(name: str, status: int, title: str, action: str, retry_after_seconds: int = 0) -> Kind:
    kind = Kind(name, status, title, action, retry_after_seconds)
    CATALOGUE[name] = kind
    return kind


# Signatures (RFC 9421) of POST /v1/scans
SIGNATURE_MISSING = _kind(
    "signature-missing",
    401,
    "The request is not signed",
    "Sign it as RFC 9421 says: Signature-Input and Signature over @method, @path, content-type, content-digest.",
)
SIGNATURE_MALFORMED = _kind(
    "signature-malformed",
    400,
    "The signature headers cannot be read",
    "Compare Signature-Input, Signature and Content-Digest with the worked example in docs/api.md.",
)
SIGNATURE_INCOMPLETE = _kind(
    "signature-incomplete",
    400,
    "The signature does not cover what it must",
    "Cover @method, @path, content-type and content-digest (content-encoding too where sent), with created and keyid.",
)
SIGNATURE_INVALID = _kind(
    "signature-invalid",
    401,
    "The signature does not fit the request",
    "Check that the key belongs to this keyid and that nothing between you and the server rewrites the request.",
)
SIGNATURE_STALE = _kind(
    "signature-stale",
    401,
    "The signature was created too long ago or in the future",
    "Set the device's clock, sign the request again with a new created time, and resend. No scan is lost.",
)
DIGEST_MISMATCH = _kind(
    "digest-mismatch",
    400,
    "Content-Digest does not fit the body",
    "Compute the SHA-256 digest over the body exactly as sent, after compression.",
)
KEY_UNKNOWN = _kind(
    "key-unknown",
    401,
    "No device has this key",
    "Check keyid, or enrol the device: truyvet device enrol.",
)
KEY_REVOKED = _kind(
    "key-revoked",
    403,
    "This device key is revoked or no longer valid",
    "Keep the scans, obtain a new key from the administrator (truyvet device rotate), sign again and resend.",
)
# Bodies
CONTENT_TYPE_UNKNOWN = _kind(
    "content-type-unknown",
    415,
    "This content type is not understood",
    "Send application/json or application/msgpack.",
)
CONTENT_ENCODING_UNKNOWN = _kind(
    "content-encoding-unknown",
    415,
    "This content encoding is not understood",
    "Send gzip or zstd, or no Content-Encoding at all.",
)
BODY_MALFORMED = _kind(
    "body-malformed",
    400,
    "The body cannot be decoded",
    "Correct the body at the position named, sign it anew and resend.",
)
BODY_INVALID = _kind(
    "body-invalid",
    422,
    "The body does not have the documented form",
    "Correct the value at the pointer named; docs/api.md has the schema.",
)
BODY_TOO_LARGE = _kind(
    "body-too-large",
    413,
    "The body is too large",
    "Split it into smaller batches; docs/api.md names the limits before and after decompression.",
)
BODY_TIMEOUT = _kind(
    "body-timeout",
    408,
    "The body did not arrive in time",
    "Send the whole body at once, or send a smaller batch.",
)
# HTTP itself
REQUEST_MALFORMED = _kind(
    "request-malformed",
    400,
    "The request is not valid HTTP",
    "Send well-formed HTTP/1.1 with one Content-Length or one chunked body, never both.",
)
HEAD_TOO_LARGE = _kind(
    "head-too-large",
    431,
    "The request's head is too large",
    "Send only the headers that docs/api.md names.",
)
SERVER_BUSY = _kind(
    "server-busy",
    503,
    "The server has more requests at hand than it may hold",
    "Keep the scans and resend the batch after Retry-After seconds.",
    5,
)
# Service
RATE_EXCEEDED = _kind(
    "rate-exceeded",
    429,
    "This device sends more than its rate",
    "Keep the scans and resend the batch after Retry-After seconds; larger batches take fewer requests.",
    1,
)
STREAM_DOWN = _kind(
    "stream-unavailable",
    503,
    "Scans cannot be made durable at the moment",
    "Keep the scans and resend the batch after Retry-After seconds. Sending it twice is harmless.",
    5,
)
STREAM_FULL = _kind(
    "stream-full",
    503,
    "The stream has reached its limit",
    "Keep the scans and resend the batch after Retry-After seconds. Nothing of this batch was accepted.",
    30,
)
STREAM_OUT_OF_MEMORY = _kind(
    "stream-out-of-memory",
    503,
    "The stream's server has no memory left",
    "Keep the scans and resend the batch after Retry-After seconds. Nothing of this batch was accepted.",
    30,
)
STREAM_UNWRITABLE = _kind(
    "stream-unwritable",
    503,
    "The stream's server cannot write to its disk",
    "Keep the scans and resend the batch after Retry-After seconds. Nothing of this batch was accepted.",
    30,
)
STORE_DOWN = _kind(
    "store-unavailable",
    503,
    "The store cannot answer at the moment",
    "Ask again after Retry-After seconds; truyvet doctor says which part is down.",
    5,
)
BEHIND = _kind(
    "projections-behind",
    503,
    "The read models have not caught up with as_of",
    "Ask again after Retry-After seconds, or with an earlier as_of.",
    5,
)
NOT_FOUND = _kind("not-found", 404, "There is nothing here", "Check the path and the id against docs/api.md.")
METHOD_NOT_ALLOWED = _kind("method-not-allowed", 405, "This method is not served here", "See the Allow header.")
INTERNAL = _kind(
    "internal-error",
    500,
    "The service failed to answer",
    "Try again; if it stays, send the administrator the time of the request. Nothing was changed.",
)
# People and purposes
TOKEN_MISSING = _kind(
    "token-missing",
    401,
    "A bearer token is needed",
    "Send Authorization: Bearer …; an administrator makes one with truyvet token create.",
)
TOKEN_INVALID = _kind(
    "token-invalid",
    401,
    "This token is unknown, expired or revoked",
    "Ask an administrator for a new one: truyvet token create.",
)
ROLE_FORBIDDEN = _kind("role-forbidden", 403, "Your role may not do this", "Ask somebody whose role may.")
PURPOSE_MISSING = _kind(
    "purpose-missing",
    422,
    "A purpose must be stated",
    "Say why you look at these people (10 to 500 characters); it is kept in the audit log.",
)
# Questions
QUESTION_INVALID = _kind(
    "question-invalid",
    422,
    "The question contradicts itself or passes a limit",
    "Correct the value at the pointer named; docs/api.md names every limit.",
)
SUBJECT_UNKNOWN = _kind(
    "subject-unknown",
    404,
    "Nothing is known of this subject",
    "Check the case id or the pseudonym.",
)
REGISTRY_CONFLICT = _kind(
    "registry-conflict",
    409,
    "This contradicts what is registered",
    "Read the registered one, then change or rename yours.",
)
