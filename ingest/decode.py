"""Step 3, first half: the bytes of a verified body become a `ScanBatch`.

Decompression is bounded, and one encoding, one frame: whatever a scanner's library would add behind it is refused.
A detail names a position or a pointer and what was expected there, never what was found: a misplaced field may
hold a citizen's number.
"""

import re
import sys
import zlib
from typing import Final

import msgspec

from events import codec, problems
from events.problems import ProblemError
from events.scans import BATCH_SCANS_MAX, Kind, Scan, ScanBatch
from ingest.columns import ScanColumns
from ingest.limits import EdgeLimits
from ingest.uniform import uniform_json, uniform_msgpack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
ZSTD_WINDOW_LOG_MAX: Final = 23
"""8 MiB, which RFC 9659 sets for zstd as a content coding."""

JSON_TYPES: Final = frozenset({"application/json"})
MSGPACK_TYPES: Final = frozenset({"application/msgpack", "application/vnd.msgpack", "application/x-msgpack"})
UTF8_PARAMETER: Final = re.compile(r'charset="?utf-?8"?', re.IGNORECASE)

_BYTE: Final = re.compile(r"\(byte (\d+)\)$")
_PATH: Final = re.compile(
    rf" - at `(?:key` in `)?\$((?:\.scans(?:\[\d+\](?:\.(?:{'|'.join(Scan.__struct_fields__)}))?)?)?)`$"
)
_INDEX: Final = re.compile(r"\[(\d+)\]")


def decode_body(body: bytes, content_type: str, content_encoding: str, limits: EdgeLimits) -> ScanBatch:
    """The batch in a body, from its header fields (`content_encoding` is empty where there is none).

    Raises `ProblemError`: CONTENT_TYPE_UNKNOWN, CONTENT_ENCODING_UNKNOWN, BODY_TOO_LARGE, BODY_MALFORMED with the
    byte position in the decompressed body, BODY_INVALID with an RFC 6901 pointer.
    """
    is_json = _is_json(content_type)
    return _decoded(_decompressed(body, content_encoding, limits.decompressed_bytes_max), is_json)


def decode_columns(
    body: bytes, content_type: str, content_encoding: str, limits: EdgeLimits
) -> ScanBatch | ScanColumns:
    """The same batch for who has no use for its scans one by one: in columns, where all are laid out alike."""
    is_json = _is_json(content_type)
    plain = _decompressed(body, content_encoding, limits.decompressed_bytes_max)
    columns = uniform_json(plain) if is_json else uniform_msgpack(plain)
    return _decoded(plain, is_json) if columns is None else columns


def _decoded(plain: bytes, is_json: bool) -> ScanBatch:
    if not plain:
        raise ProblemError(problems.BODY_MALFORMED.problem("The body is empty (byte 0)."))
    try:
        return codec.scan_batch_from_json(plain) if is_json else codec.scan_batch_from_msgpack(plain)
    except msgspec.ValidationError as error:
        raise ProblemError(_invalid(str(error))) from error
    except msgspec.DecodeError as error:
        raise ProblemError(_malformed(str(error), len(plain))) from error
    except UnicodeDecodeError as error:
        # The error counts from the start of the text that it stands in.
        position = max(plain.find(error.object), 0) + error.start
        detail = f"A text is not UTF-8 (byte {position})."
        raise ProblemError(problems.BODY_MALFORMED.problem(detail)) from error
    except RecursionError as error:
        raise ProblemError(problems.BODY_MALFORMED.problem("The body is nested too deeply.")) from error


def _is_json(content_type: str) -> bool:
    media_type, *parameters = (part.strip() for part in content_type.split(";"))
    media_type = media_type.lower()
    if media_type not in JSON_TYPES | MSGPACK_TYPES:
        raise ProblemError(problems.CONTENT_TYPE_UNKNOWN.problem())
    if any(part and not UTF8_PARAMETER.fullmatch(part) for part in parameters):
        detail = "The only parameter a content type may have here is charset=utf-8."
        raise ProblemError(problems.CONTENT_TYPE_UNKNOWN.problem(detail))
    return media_type in JSON_TYPES


def _decompressed(body: bytes, content_encoding: str, bytes_max: int) -> bytes:
    match content_encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _gunzipped(body, bytes_max)
        case "zstd":
            return _unzstd(body, bytes_max)
        case several if "," in several:
            raise ProblemError(problems.CONTENT_ENCODING_UNKNOWN.problem("Only one encoding may be applied."))
        case _:
            raise ProblemError(problems.CONTENT_ENCODING_UNKNOWN.problem())


def _gunzipped(body: bytes, bytes_max: int) -> bytes:
    stream = zlib.decompressobj(GZIP_WBITS)
    try:
        plain = stream.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise ProblemError(problems.BODY_MALFORMED.problem("The body is not a valid gzip stream.")) from error
    _require_whole("gzip", len(plain), bytes_max, eof=stream.eof, unused=len(stream.unused_data), sent=len(body))
    return plain


def _unzstd(body: bytes, bytes_max: int) -> bytes:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
    stream = zstd.ZstdDecompressor(options=options)
    try:
        plain = stream.decompress(body, bytes_max + 1)
    except zstd.ZstdError as error:
        detail = f"The body is not a valid zstd frame with a window of at most {1 << ZSTD_WINDOW_LOG_MAX} bytes."
        raise ProblemError(problems.BODY_MALFORMED.problem(detail)) from error
    _require_whole("zstd", len(plain), bytes_max, eof=stream.eof, unused=len(stream.unused_data), sent=len(body))
    return plain


def _require_whole(name: str, plain: int, bytes_max: int, *, eof: bool, unused: int, sent: int) -> None:
    if plain > bytes_max:
        detail = f"Decompressed it passes {bytes_max} bytes."
        raise ProblemError(problems.BODY_TOO_LARGE.problem(detail))
    if not eof:
        detail = f"The {name} data ends too early (byte {sent} as sent)."
        raise ProblemError(problems.BODY_MALFORMED.problem(detail))
    if unused:
        detail = f"Something follows the {name} data (byte {sent - unused} as sent)."
        raise ProblemError(problems.BODY_MALFORMED.problem(detail))


def _malformed(message: str, length: int) -> problems.Problem:
    found = _BYTE.search(message)
    if found is None:
        return problems.BODY_MALFORMED.problem(f"A value is unfinished when the body ends (byte {length}).")
    position = int(found.group(1))
    if "trailing characters" in message:
        # msgspec's JSON reader has stepped over the character by then, its MessagePack reader has not.
        position -= message.startswith("JSON")
        return problems.BODY_MALFORMED.problem(f"Something follows the batch (byte {position}).")
    return problems.BODY_MALFORMED.problem(f"What stands there cannot be read (byte {position}).")


def _invalid(message: str) -> problems.Problem:
    path = _PATH.search(message)
    pointer = _INDEX.sub(r"/\1", path.group(1)).replace(".", "/") if path else ""
    expected = message[: path.start()] if path else message
    if expected.startswith("Object contains unknown field"):
        names = Scan.__struct_fields__ if pointer else ScanBatch.__struct_fields__
        expected = f"A field stands here that is not documented; the fields are {', '.join(names)}"
    elif expected.startswith("Invalid enum value"):
        expected = f"Expected one of {', '.join(Kind)}"
    elif pointer == "/scans" and "length" in expected:
        expected = f"Expected 1 to {BATCH_SCANS_MAX} scans in a batch"
    return problems.BODY_INVALID.problem(f"{expected}.", pointer=pointer)
