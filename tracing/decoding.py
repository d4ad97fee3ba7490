"""Requests become structs: bodies, query strings and the stated purpose.

A detail names where and what was expected there, never what was found: a misplaced field may hold a citizen's number.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from events import codec, problems
from events.problems import Problem, ProblemError

PURPOSE_HEADER: Final = "Truyvet-Purpose"
JSON_MEDIA_TYPE: Final = "application/json"

_PATH: Final = re.compile(r" - at `\$((?:\.[a-z_]+|\[\d+\])*)`$")
_ANY_PATH: Final = re.compile(r" - at `.*`$", re.DOTALL)
_INDEX: Final = re.compile(r"\[(\d+)\]")
_BYTE: Final = re.compile(r"\(byte (\d+)\)$")

T = TypeVar("T", bound=msgspec.Struct)


def decode_body(body: bytes, content_type: str, kind: type[T]) -> T:
    """A JSON body as a struct.

    Raises `ProblemError`: CONTENT_TYPE_UNKNOWN, BODY_MALFORMED with the byte, BODY_INVALID with a JSON pointer.
    """
    if content_type.partition(";")[0].strip().lower() != JSON_MEDIA_TYPE:
        raise ProblemError(problems.CONTENT_TYPE_UNKNOWN.problem(f"Send {JSON_MEDIA_TYPE} here."))
    try:
        return codec.from_json(body, kind)
    except msgspec.ValidationError as error:
        raise ProblemError(_invalid(problems.BODY_INVALID, str(error), kind)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        byte = _BYTE.search(str(error))
        where = f" (byte {byte.group(1)})" if byte else ": it is cut short or not in UTF-8"
        raise ProblemError(problems.BODY_MALFORMED.problem(f"The body is no JSON text{where}.")) from None


def decode_query(pairs: Iterable[tuple[str, str]], kind: type[T]) -> T:
    """A query string's pairs as a struct. Raises QUESTION_INVALID as `ProblemError` with the parameter as pointer."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            known = name if name in kind.__struct_encode_fields__ else ""
            problem = problems.QUESTION_INVALID.problem("A parameter is given twice.", pointer=f"/{known}")
            raise ProblemError(problem)
        values[name] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError(_invalid(problems.QUESTION_INVALID, str(error), kind)) from None


def purpose_text(header: str | None) -> str | None:
    """The purpose in the request's header: percent-encoded UTF-8 or plain, since header fields carry no Vietnamese.

    `header` is as the server decodes it, one character a byte. None where it is absent or no UTF-8.
    """
    if header is None:
        return None
    try:
        return unquote_to_bytes(header.encode("latin-1")).decode()
    except UnicodeError:
        return None


def _invalid(kind: problems.Kind, message: str, expected: type[msgspec.Struct]) -> Problem:
    path = _PATH.search(message)
    pointer = _INDEX.sub(r"/\1", path.group(1)).replace(".", "/") if path else ""
    text = _ANY_PATH.sub("", message)
    if text.startswith("Object contains unknown field"):
        names = f"; there are {', '.join(expected.__struct_encode_fields__)}" if not pointer else ""
        text = f"A field or parameter is not documented{names}"
    elif text.startswith("Invalid enum value"):
        text = "The value is not one of the documented ones"
    elif text.startswith("Invalid value"):
        text = "The value is not of a documented form"
    return kind.problem(f"{text}.", pointer=pointer)
