"""QR codes: a person's, which only the server can attribute, and a place's, which anyone can read.

The text of a code is `TV1.<head>.<signature>`, both parts base64url without padding. The signature is the
issuer's Ed25519 over the ASCII text `TV1.<head>`. A head is, in big-endian:

    person  version 1 · type 1 · kind (0 person, 1 vehicle) · kid u16 · issued u32 · expires u32 ·
            nonce 12 · sealed 32                                       57 bytes, 76 characters
    place   version 1 · type 2 · reserved 0 · kid u16 · issued u32 · expires u32 (0: never) · place id, ASCII

`sealed` is AES-256-CCM of the 16-byte pseudonym under the generation's `seal_key`, with the nonce of the head
and the 13 bytes before it as associated data (why CCM: docs/adr/0010). So the seal alone authenticates every
byte of the head to the server: a scanner may leave `.<signature>` off, and `CodeOpener` never looks into it (it
holds the text to one of the two lengths, no more). The signature is for scanners without the server: `verify_code`.

Unlinkable: of two codes of one person nothing is equal but version, type, kind and kid; nonce and seal are as
good as random to whoever lacks `seal_key`. The two times are whole seconds: an issuer that gives everybody the same
lifetime, and issues as people ask, reveals nothing by them. `issued` is not rounded further, since
`CodesRevoked.issued_before` must tell the code that was lost from the one that replaced it a minute later.
Times are cut down to the second: a code never outlives what was asked for, and whatever was issued in the second
of a revocation is void with it.
"""

import binascii
import contextlib
import functools
import string
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pybase64
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from numpy.typing import NDArray

from events.places import PlaceId
from events.scans import Refusal
from keys.ccm import OneBlockCcm
from keys.pseudonyms import PSEUDONYM_BYTES
from keys.secrets import ServerSecrets

CODE_PREFIX: Final = "TV1."
CODE_VERSION: Final = 1
TYPE_PERSON: Final = 1
TYPE_PLACE: Final = 2
KIND_PERSON: Final = 0
KIND_VEHICLE: Final = 1
CODE_NONCE_BYTES: Final = 12
CODE_CHARS_MAX: Final = 512
PLACE_CODES_CACHED_MAX: Final = 4_096

_PERSON_HEAD: Final = struct.Struct(">BBBHII12s32s")
_HEAD_START: Final = struct.Struct(">BBBHII")
_HEAD_FROM: Final = len(CODE_PREFIX)
PERSON_HEAD_CHARS: Final = _HEAD_FROM + 76
"""A personal code's text without its signature: all that the server reads of it."""
_SIGNATURE_CHARS: Final = 86
_PERSON_SIGNED_CHARS: Final = PERSON_HEAD_CHARS + 1 + _SIGNATURE_CHARS
_SECONDS_MAX: Final = 2**32 - 1

# base64url to base64; what base64url lacks becomes a byte that the strict decoder refuses.
_TO_BASE64: Final = bytes.maketrans(b"-_+/=", b"+/!!!")

# For many codes at once: the decoder translates by itself, but would take both spellings.
_ALTERNATIVES: Final = b"-_"
_NOT_BASE64URL: Final = (b"+", b"/", b"=")
_BASE64URL: Final = frozenset((string.ascii_letters + string.digits + "-_").encode("ascii"))
_STRANGE: Final = bytes(octet not in _BASE64URL for octet in range(256))
"""Of every octet whether it is no character of base64url: a table for `bytes.translate`."""
_PREFIX: Final = np.frombuffer(CODE_PREFIX.encode("ascii"), "V4")[0]
_NO_CODE: Final = CODE_PREFIX.ljust(PERSON_HEAD_CHARS, "A")
_HEAD_TEXT: Final = np.dtype(("V", PERSON_HEAD_CHARS - _HEAD_FROM))
_TEXT: Final = np.dtype([("prefix", "V", _HEAD_FROM), ("head", _HEAD_TEXT)])
_NO_HEAD: Final = np.frombuffer(_NO_CODE.encode("ascii"), _TEXT)[0]["head"]
"""Reads as zeros, which is no form of a code."""
_HEAD: Final = np.dtype([("aad", np.uint8, 13), ("nonce", np.uint8, CODE_NONCE_BYTES), ("sealed", np.uint8, 32)])
_START: Final = np.dtype(
    [("form", ">u2"), ("kind", "u1"), ("kid", ">u2"), ("issued", ">u4"), ("expires", ">u4"), ("rest", "V44")]
)
"""Two ways to read a head of `_PERSON_HEAD`, where there are many."""
_PERSON_FORM: Final = CODE_VERSION << 8 | TYPE_PERSON


class BadCode(ValueError):
    """A code that cannot be taken; `refusal` says why. The message never quotes the code."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal: Final = refusal


class PersonCode(msgspec.Struct, frozen=True, gc=False):
    """An opened personal code. `subject` has 16 bytes, times are ms, `code` is the 12-byte nonce: the code's id."""

    subject: bytes
    vehicle: bool
    issued: int
    expires: int
    code: bytes


class OpenedCodes(msgspec.Struct, frozen=True):
    """Many personal codes, opened together; where `good` is false the other columns' rows mean nothing.

    Shapes: `good` (n,), `subjects` (n, 16), `codes` (n, 12) (their nonces), `issued` and `expires` (n,) in ms.
    """

    good: NDArray[np.bool_]
    subjects: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    issued: NDArray[np.int64]
    expires: NDArray[np.int64]


class PlaceCode(msgspec.Struct, frozen=True):
    """An opened place code. Times are ms; `expires` None means never."""

    place: str
    issued: int
    expires: int | None


class CodeHead(msgspec.Struct, frozen=True, kw_only=True):
    """What anyone may read of a code. `place` is None for a personal code, `code` None for a place's. Times in ms."""

    kid: int
    issued: int
    expires: int | None
    place: str | None
    code: bytes | None
    vehicle: bool


_FROM_BASE64: Final = bytes.maketrans(b"+/", b"-_")


def _encode(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_FROM_BASE64).decode("ascii")


def _decode(text: str) -> bytes:
    """Base64url without padding, in its one canonical spelling. Raises `ValueError`."""
    padding = b"=" * (-len(text) % 4)
    data = binascii.a2b_base64(text.encode("ascii").translate(_TO_BASE64) + padding, strict_mode=True)
    # Bits left over at the end are ignored by the decoder: without this a code would have many spellings.
    if _encode(data) != text:
        raise ValueError("not canonical base64url")
    return data


def _seconds(ms: int, name: str) -> int:
    seconds = ms // 1000
    if not 0 < seconds <= _SECONDS_MAX:
        raise ValueError(f"{name} does not fit: a code counts seconds from 1970 to 2106")
    return seconds


def _signed(head: bytes, issuer_seed: bytes) -> str:
    text = CODE_PREFIX + _encode(head)
    return f"{text}.{_encode(Ed25519PrivateKey.from_private_bytes(issuer_seed).sign(text.encode('ascii')))}"


def issue_person_code(
    secrets: ServerSecrets, subject: bytes, *, vehicle: bool, issued: int, expires: int, nonce: bytes
) -> str:
    """The text of a personal code, 167 characters. Times in ms; `nonce`: 12 fresh random bytes, the code's id.

    Raises `ValueError` where a length or a time does not fit.
    """
    if len(subject) != PSEUDONYM_BYTES:
        raise ValueError(f"a pseudonym has {PSEUDONYM_BYTES} bytes, not {len(subject)}")
    if len(nonce) != CODE_NONCE_BYTES:
        raise ValueError(f"a code's nonce has {CODE_NONCE_BYTES} bytes, not {len(nonce)}")
    if expires <= issued:
        raise ValueError("a code must expire after it was issued")
    generation = secrets.current
    start = _HEAD_START.pack(
        CODE_VERSION,
        TYPE_PERSON,
        KIND_VEHICLE if vehicle else KIND_PERSON,
        generation.kid,
        _seconds(issued, "issued"),
        _seconds(expires, "expires"),
    )
    sealed = AESCCM(generation.seal_key).encrypt(nonce, subject, start)
    return _signed(start + nonce + sealed, generation.issuer_seed)


def issue_place_code(secrets: ServerSecrets, place: str, *, issued: int, expires: int | None) -> str:
    """The text of a place's code. Times in ms; `expires` None: never. Raises `ValueError` where one does not fit."""
    place_id = _place_id(place)
    if expires is not None and expires <= issued:
        raise ValueError("a code must expire after it was issued")
    generation = secrets.current
    until = 0 if expires is None else _seconds(expires, "expires")
    start = _HEAD_START.pack(CODE_VERSION, TYPE_PLACE, 0, generation.kid, _seconds(issued, "issued"), until)
    return _signed(start + place_id.encode("ascii"), generation.issuer_seed)


def verify_code(text: str, issuer_public_keys: Mapping[int, bytes]) -> CodeHead:
    """Checks a code offline, with the issuer's public keys (kid → 32 bytes) alone. Raises `BadCode`.

    Whether the code is expired or revoked is the caller's to judge.
    """
    signed, head, signature = _split(text)
    code = _head(head)
    public = issuer_public_keys.get(code.kid)
    if public is None:
        raise BadCode(Refusal.UNKNOWN_ISSUER)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except InvalidSignature:
        raise BadCode(Refusal.BAD_CODE) from None
    return code


def _split(text: str) -> tuple[bytes, bytes, bytes]:
    """The signed text, the head and the signature of a whole code. Raises `BadCode`."""
    try:
        if len(text) > CODE_CHARS_MAX or not text.startswith(CODE_PREFIX):
            raise ValueError("no code of ours")
        head, signature = text[_HEAD_FROM:].split(".")
        return text[: _HEAD_FROM + len(head)].encode("ascii"), _decode(head), _decode(signature)
    except ValueError:
        raise BadCode(Refusal.BAD_CODE) from None


def _head(head: bytes) -> CodeHead:
    """The fields of a head, authentic or not. Raises `BadCode`."""
    if len(head) < _HEAD_START.size:
        raise BadCode(Refusal.BAD_CODE)
    version, code_type, kind, kid, issued, expires = _HEAD_START.unpack_from(head)
    rest = head[_HEAD_START.size :]
    place: str | None = None
    nonce: bytes | None = None
    match version, code_type, kind:
        case (1, 1, 0 | 1) if len(head) == _PERSON_HEAD.size:
            nonce = rest[:CODE_NONCE_BYTES]
        case (1, 2, 0):
            try:
                place = _place_id(rest.decode("ascii"))
            except ValueError:
                raise BadCode(Refusal.BAD_CODE) from None
        case _:
            raise BadCode(Refusal.BAD_CODE)
    return CodeHead(
        kid=kid,
        issued=issued * 1000,
        expires=None if place is not None and expires == 0 else expires * 1000,
        place=place,
        code=nonce,
        vehicle=code_type == TYPE_PERSON and kind == KIND_VEHICLE,
    )


def _place_id(text: str) -> str:
    """The text where it is a place id. Raises `ValueError`."""
    # The `$` of the id's pattern matches before a last line feed too.
    if text.endswith("\n"):
        raise ValueError("a place id has no line feed")
    return msgspec.convert(text, PlaceId)


def _place_code(issuer_public_keys: Mapping[int, bytes], text: str) -> PlaceCode:
    head = verify_code(text, issuer_public_keys)
    if head.place is None:
        raise BadCode(Refusal.WRONG_CODE)
    return PlaceCode(head.place, head.issued, head.expires)


def person_heads(texts: Sequence[str]) -> bytes | None:
    """What `CodeOpener.open_people` reads of each text, joined; None where a text is not ASCII."""
    heads = texts if set(map(len, texts)) == {PERSON_HEAD_CHARS} else [_person_head(text) for text in texts]
    joined = "".join(heads)
    return joined.encode("ascii") if joined.isascii() else None


def _person_head(text: str) -> str:
    """The part of a personal code that the server reads; where the text cannot be one, as long a text that is none."""
    chars = len(text)
    if chars == PERSON_HEAD_CHARS or (chars == _PERSON_SIGNED_CHARS and text[PERSON_HEAD_CHARS] == "."):
        return text[:PERSON_HEAD_CHARS]
    return _NO_CODE


def _decoded_together(heads: bytes) -> bytes | None:
    """Many heads of persons, decoded; zeros for each that holds a character that no code has, None where all do."""
    if not any(character in heads for character in _NOT_BASE64URL):
        with contextlib.suppress(ValueError):
            return pybase64.b64decode(heads, _ALTERNATIVES, validate=True)
    strange = np.frombuffer(heads.translate(_STRANGE), np.bool_).reshape(-1, _HEAD_TEXT.itemsize).any(axis=1)
    if strange.all():
        return None
    readable: NDArray[Any] = np.frombuffer(heads, _HEAD_TEXT).copy()
    readable[strange] = _NO_HEAD
    return pybase64.b64decode(readable.tobytes(), _ALTERNATIVES, validate=True)


def _why_no_person_code(text: str) -> Refusal:
    """Sorts what is no personal code: nothing of ours, or the code on the wall."""
    if len(text) > CODE_CHARS_MAX or not text.startswith(CODE_PREFIX):
        return Refusal.BAD_CODE
    try:
        head = _head(_decode(text[_HEAD_FROM:].partition(".")[0]))
    except ValueError:
        return Refusal.BAD_CODE
    return Refusal.BAD_CODE if head.place is None else Refusal.WRONG_CODE


class CodeOpener:
    """Opens codes at the server. Holds one cipher per generation and the place codes verified last.

    Refusals are values: `BAD_CODE` (no code of ours, or changed), `WRONG_CODE` (a place's code where a person's
    belongs, or the reverse), `UNKNOWN_ISSUER` (a generation that the key file does not have). Whether a code is
    expired or revoked is judged by the caller, against the time of the scan.
    """

    def __init__(self, secrets: ServerSecrets) -> None:
        self._ciphers: Final = {one.kid: AESCCM(one.seal_key) for one in secrets.generations}
        self._ciphers_together: Final = {one.kid: OneBlockCcm(one.seal_key) for one in secrets.generations}
        # Only what verified is kept: a refusal leaves as an exception, which the cache does not store.
        self._verified_place: Final = functools.lru_cache(PLACE_CODES_CACHED_MAX)(
            functools.partial(_place_code, secrets.issuer_public_keys())
        )

    def open_person(self, text: str) -> PersonCode | Refusal:
        """A personal code, with or without its signature part. The hot path: no helper calls until it fails."""
        chars = len(text)
        whole = chars == _PERSON_SIGNED_CHARS and text[PERSON_HEAD_CHARS] == "."
        if not (chars == PERSON_HEAD_CHARS or whole) or text[:_HEAD_FROM] != CODE_PREFIX:
            return _why_no_person_code(text)
        try:
            # 76 characters of the alphabet are 57 bytes with no bit left over: no further check of the spelling.
            head = binascii.a2b_base64(
                text[_HEAD_FROM:PERSON_HEAD_CHARS].encode("ascii").translate(_TO_BASE64), strict_mode=True
            )
        except ValueError:
            return Refusal.BAD_CODE
        version, code_type, kind, kid, issued, expires, nonce, sealed = _PERSON_HEAD.unpack(head)
        if version != CODE_VERSION or code_type != TYPE_PERSON or kind > KIND_VEHICLE:
            return _why_no_person_code(text)
        cipher = self._ciphers.get(kid)
        if cipher is None:
            return Refusal.UNKNOWN_ISSUER
        try:
            subject = cipher.decrypt(nonce, sealed, head[:13])
        except InvalidTag:
            return Refusal.BAD_CODE
        return PersonCode(subject, kind == KIND_VEHICLE, issued * 1000, expires * 1000, nonce)

    def open_people(self, heads: bytes) -> OpenedCodes | None:
        """Many personal codes at once, at a twentieth of the price; `heads` has `PERSON_HEAD_CHARS` ASCII bytes each.

        Says only which are good: `open_person` says what is wrong with one. None where every one holds a character
        that no code has.
        """
        texts: NDArray[Any] = np.frombuffer(heads, _TEXT)
        data = _decoded_together(texts["head"].tobytes())
        if data is None:
            return None
        rows: NDArray[Any] = np.frombuffer(data, _HEAD)
        start: NDArray[Any] = np.frombuffer(data, _START)
        good = (texts["prefix"] == _PREFIX) & (start["form"] == _PERSON_FORM) & (start["kind"] <= KIND_VEHICLE)
        subjects, authentic = self._unsealed(start["kid"], rows["nonce"], rows["aad"], rows["sealed"])
        return OpenedCodes(
            good & authentic,
            subjects,
            rows["nonce"],
            start["issued"].astype(np.int64) * 1000,
            start["expires"].astype(np.int64) * 1000,
        )

    def _unsealed(
        self, kids: NDArray[np.uint16], nonces: NDArray[np.uint8], aad: NDArray[np.uint8], sealed: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        only = self._ciphers_together.get(int(kids[0])) if (kids == kids[0]).all() else None
        if only is not None:
            return only.open(nonces, aad, sealed)
        subjects = np.zeros((len(kids), PSEUDONYM_BYTES), np.uint8)
        authentic = np.zeros(len(kids), np.bool_)
        for kid, cipher in self._ciphers_together.items():
            (these,) = np.nonzero(kids == kid)
            if these.size:
                subjects[these], authentic[these] = cipher.open(nonces[these], aad[these], sealed[these])
        return subjects, authentic

    def open_place(self, text: str) -> PlaceCode | Refusal:
        """A place's code with its signature, which is verified (once per text, while it stays in the cache)."""
        try:
            return self._verified_place(text)
        except BadCode as bad:
            return bad.refusal
