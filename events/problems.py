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
AUDIT_DOWN = _kind(
    "audit-unavailable",
    503,
    "The look cannot be recorded, so it is not answered",
    "Ask again after Retry-After seconds; truyvet doctor says which part is down.",
    5,
)
AUDIT_FULL = _kind(
    "audit-full",
    503,
    "Too much of the audit log waits for the store, so no look is answered",
    "Ask again after Retry-After seconds; where it stays, the administrator looks whether sink and store are well.",
    30,
)
NOT_IN_TRACE = _kind(
    "not-in-trace",
    422,
    "Somebody named is not in this trace",
    "Name contacts or index subjects of the saved trace alone; the pointer says which is neither.",
)
REVEAL_LIMIT = _kind(
    "reveal-limit",
    429,
    "You have seen as many names as you may in one day",
    "Ask for fewer, or again after Retry-After seconds; the administrator sets TRUYVET_REVEALS_PER_DAY.",
    60,
)
REVEALS_FULL = _kind(
    "reveals-full",
    503,
    "As many requests for names wait as may",
    "Have them decided (truyvet reveal list), then ask again.",
    60,
)
FOUR_EYES_OWN = _kind(
    "four-eyes-own",
    403,
    "Nobody decides their own request",
    "Ask a colleague who may decide: truyvet reveal list shows them what waits.",
)
REVEAL_UNDECIDED = _kind(
    "reveal-undecided",
    409,
    "Nobody has decided this request yet",
    "Ask a colleague to approve it, then open it.",
)
REVEAL_OVER = _kind(
    "reveal-over",
    409,
    "This request is decided or over",
    "Make a new one: POST /v1/traces/{id}/reveal, or truyvet reveal ask.",
)
ERASURE_UNCONFIRMED = _kind(
    "erasure-unconfirmed",
    422,
    "An erasure must be confirmed",
    'It cannot be undone. Send "confirm": true.',
)
CHECKPOINT_FOREIGN = _kind(
    "checkpoint-foreign",
    422,
    "This server did not sign the checkpoint",
    "Give it as `truyvet audit head` printed it, and ask the service that it came from.",
)
# Questions
QUESTION_INVALID = _kind(
    "question-invalid",
    422,
    "The question contradicts itself or passes a limit",
    "Correct the value at the pointer named; docs/api.md names every limit.",
)
IMPORT_UNREADABLE = _kind(
    "import-unreadable",
    422,
    "The file cannot be read as the table that is expected",
    "Compare its first line with the data dictionary and its length with the limit, then send it again.",
)
WINDOW_REVERSED = _kind(
    "window-reversed",
    422,
    "The window ends before it begins, or is empty",
    "Give a later `to`, or an earlier `from`; windows are half-open, [from, to).",
)
WINDOW_TOO_LONG = _kind(
    "window-too-long",
    422,
    "The window is too long",
    "Ask for a shorter window, or for several one after the other; the detail names the limit.",
)
AS_OF_IN_FUTURE = _kind(
    "as-of-in-future",
    422,
    "as_of lies in the future",
    "Leave as_of out for now; an answer as of a moment that has not come cannot be had.",
)
WINDOW_EXPIRED = _kind(
    "window-expired",
    422,
    "Nothing of this window is kept any more",
    "Ask for a later window; the detail and GET /v1/retention say from when on scans are kept.",
)
DEPTH_EXCEEDED = _kind(
    "depth-exceeded",
    422,
    "The chain is asked for too deep",
    "Ask with the greatest depth that the detail names, then ask about those who stand at its end.",
)
INDEX_WITHOUT_SCANS = _kind(
    "index-without-scans",
    422,
    "Nobody who is asked about was scanned in the window",
    "Widen the window towards the nearest scan that the detail names, or check the case's window.",
)
PRESET_UNKNOWN = _kind(
    "preset-unknown",
    422,
    "There is no preset of this name",
    "GET /v1/presets or truyvet trace presets lists them.",
)
GRID_TOO_LARGE = _kind(
    "grid-too-large",
    422,
    "The grid has too many points",
    "Give fewer values of min_seconds or lag_seconds; the detail names the limit.",
)
TRACE_TOO_LARGE = _kind(
    "trace-too-large",
    422,
    "Too much would have to be looked at",
    "Narrow the window, the depth or the index; POST /v1/traces does it as a job where it may look at more.",
)
JOBS_FULL = _kind(
    "jobs-full",
    503,
    "As many jobs wait as may",
    "Ask again after Retry-After seconds, or cancel one: truyvet trace jobs lists them.",
    30,
)
JOB_INTERRUPTED = _kind(
    "job-interrupted",
    503,
    "The service ended while it worked on this",
    "Ask again: POST /v1/traces. Nothing was saved.",
)
JOB_OVER = _kind(
    "job-over",
    409,
    "The job is over and can no longer be cancelled",
    "Read it: GET /v1/jobs/{id} says how it ended.",
)
EXPORT_FORMAT_UNKNOWN = _kind(
    "export-format-unknown",
    404,
    "There is no export of this name",
    "Ask for one of the formats that the detail names; docs/exports.md tells them apart.",
)
EXPORT_UNAVAILABLE = _kind(
    "export-unavailable",
    501,
    "This server cannot write that format",
    "Ask for another format, or have the extra that the detail names installed.",
)
EXPORTS_FULL = _kind(
    "exports-full",
    503,
    "As many exports run as may",
    "Ask again after Retry-After seconds.",
    10,
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
