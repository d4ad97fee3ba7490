"""Scans as scanners send them, verdicts as the edge answers them, entries as the stream carries them."""

import enum
import struct
from typing import Annotated, Final

import msgspec
from msgspec import Meta

BATCH_SCANS_MAX: Final = 5_000
SEQ_MAX: Final = 2**53 - 1
"""The largest counter that every JSON reader keeps exact (RFC 8259, section 6)."""
AT_MS_MAX: Final = 4_102_444_800_000
"""2100-01-01: beyond this a clock counts in another unit."""

Seq = Annotated[int, Meta(ge=1, le=SEQ_MAX, description="The device's own counter of its scans, from 1")]
AtMs = Annotated[int, Meta(ge=0, le=AT_MS_MAX, description="When it happened, Unix milliseconds")]


class Kind(enum.StrEnum):
    """What a scan attests: an entry, an exit, or a passage at a checkpoint (presence without an exit)."""

    IN = "in"
    OUT = "out"
    PASS = "pass"


class How(enum.StrEnum):
    """How a scan named its subject."""

    CODE = "code"
    CITIZEN = "citizen"
    SUBJECT = "subject"
    PHONE = "phone"


class Scan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One scan on the wire.

    Exactly one of `code` (a personal code's text, its signature may be left off), `cccd` (a 12-digit
    citizen number) and `subject` (a pseudonym, 32 hex digits) names the subject where a device serves a
    place; a phone names none and gives `place_code`. `place` narrows to a sub-place of the device's own.
    """

    seq: Seq
    at: AtMs
    kind: Kind
    code: Annotated[str, Meta(max_length=512)] | None = None
    cccd: Annotated[str, Meta(max_length=32)] | None = None
    subject: Annotated[str, Meta(max_length=64)] | None = None
    place: Annotated[str, Meta(max_length=64)] | None = None
    place_code: Annotated[str, Meta(max_length=512)] | None = None


class ScanBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/scans`; signed as a whole."""

    scans: Annotated[list[Scan], Meta(min_length=1, max_length=BATCH_SCANS_MAX)]

    def __len__(self) -> int:
        """The number of scans."""
        return len(self.scans)


class Refusal(enum.StrEnum):
    """Why one scan of a good batch was not taken. Closed; `docs/api.md` says for each what to do."""

    BAD_CODE = "bad_code"
    WRONG_CODE = "wrong_code"
    UNKNOWN_ISSUER = "unknown_issuer"
    EXPIRED_CODE = "expired_code"
    REVOKED_CODE = "revoked_code"
    BAD_CITIZEN_NUMBER = "bad_citizen_number"
    BAD_SUBJECT = "bad_subject"
    SUBJECT_MISSING = "subject_missing"
    SUBJECT_AMBIGUOUS = "subject_ambiguous"
    SUBJECT_NOT_ALLOWED = "subject_not_allowed"
    UNKNOWN_PLACE = "unknown_place"
    PLACE_MISSING = "place_missing"
    PLACE_NOT_ALLOWED = "place_not_allowed"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    SEQ_REPEATED = "seq_repeated"


KIND_NUMBER: Final[dict[Kind, int]] = {kind: number for number, kind in enumerate(Kind, 1)}
HOW_NUMBER: Final[dict[How, int]] = {how: number for number, how in enumerate(How, 1)}
REFUSAL_NUMBER: Final[dict[Refusal, int]] = {refusal: number for number, refusal in enumerate(Refusal, 1)}
"""Numbers as the tables' Enum8 columns keep them. Append to the enums; never reorder."""


class Verdict(msgspec.Struct, frozen=True):
    """What became of one scan that was not simply accepted: `duplicate`, or a `Refusal`."""

    seq: int
    verdict: str
    detail: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The 202 answer: the batch is on disk.

    `accepted` + `duplicate` + `refused` is the number of scans sent. `next_seq` is the lowest seq that the
    server has not seen from this device, `seen_to` the highest that it has; where they are further apart
    than one, scans are missing in between.
    """

    batch: str
    accepted: int
    duplicate: int
    refused: int
    next_seq: int
    seen_to: int
    verdicts: list[Verdict]


SCANS_PATH: Final = "/v1/scans"
"""Where a device posts its batches."""
SEQUENCE_PATH: Final = "/v1/sequence"
"""Where a device asks for its own count."""


class SeqRun(msgspec.Struct, frozen=True):
    """Consecutive seqs, both ends included."""

    first: int
    last: int


class DeviceSequence(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a device that asks for its own count.

    `missing`: what to send, if it ever was made; all else up to `seen_to` has arrived. Everything received by `as_of`
    (Unix ms) is in the log. Where that is not before the question, `settled` is true; else what was acknowledged counts
    as arrived, and it is worth asking again later. `next_seq` is the lowest seq above `after_seq` that is missing or
    was never seen. `next` is the `after_seq` of the page after, null on the last.
    """

    device: str
    as_of: int
    settled: bool
    next_seq: int
    seen_to: int
    missing: list[SeqRun]
    next: int | None


LOG_ROW: Final = struct.Struct("<IHQqqI16sbb")
"""One accepted scan in ClickHouse's RowBinary, 52 bytes: device, key, seq, at, received, place, subject, kind, how."""
REFUSED_ROW: Final = struct.Struct("<IHQqqbb")
"""One refused scan in RowBinary, 32 bytes: device, key, seq, at, received, kind, reason."""
RECEIVED_OFFSET: Final = 22
"""Where both rows keep `received`: zero at the edge, stamped by the sink (see `ingest.sink`)."""


class Entry(msgspec.Struct, frozen=True, array_like=True, tag="entry.v1"):
    """One signed batch in the stream.

    `rows` and `refused` are concatenated `LOG_ROW`s and `REFUSED_ROW`s; `seq_min` and `seq_max` span all
    scans of the batch, refused ones too; `evidence` is a sealed `Evidence`.
    """

    device: int
    key: int
    seq_min: int
    seq_max: int
    rows: bytes
    refused: bytes
    evidence: bytes


class Evidence(msgspec.Struct, frozen=True, array_like=True, tag="evidence.v1"):
    """The request as it came: all that a later verification of its signature needs.

    `headers` are the covered header fields, lower-case name to value; `body` is as sent, compressed or not.
    """

    method: str
    path: str
    headers: dict[str, str]
    signature_input: str
    signature: str
    body: bytes
