"""Step 3, second half: each scan of a decoded batch becomes a row of the log, or a refusal with its reason.

The hot path: what is certainly good is judged for the whole batch at once (`ingest.judge_together`); here stand all
rules, and the reasons of what is refused. Pure: the registries, the clock and the limits are arguments.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.devices import Device, DeviceKey
from events.places import Place
from events.scans import (
    HOW_NUMBER,
    KIND_NUMBER,
    LOG_ROW,
    REFUSAL_NUMBER,
    REFUSED_ROW,
    How,
    Refusal,
    Scan,
    ScanBatch,
    Verdict,
)
from ingest.columns import ScanColumns
from ingest.judge_together import JUDGED_ALONE, TOGETHER_SCANS_MIN, Together, Window, judge_together
from ingest.limits import EdgeLimits
from keys.codes import CodeOpener
from keys.keyring import Keyring
from keys.pseudonyms import citizen_number_error, pseudonym_of_citizen

DUPLICATE: Final = "duplicate"
DUPLICATE_DETAIL: Final = (
    "This seq was received before, and its first accepted delivery counts. If it stood for another scan then,"
    " give this one a fresh seq."
)

_SUBJECT: Final = re.compile(r"[0-9a-f]{32}")
_SEQ_COLUMN: Final = 2

BY_CODE: Final = HOW_NUMBER[How.CODE]
BY_CITIZEN: Final = HOW_NUMBER[How.CITIZEN]
BY_SUBJECT: Final = HOW_NUMBER[How.SUBJECT]
BY_PHONE: Final = HOW_NUMBER[How.PHONE]


class Places(Protocol):
    """What judging asks of the places: `events.places.PlaceTree` and `ingest.places.PlaceView` both answer."""

    @property
    def by_id(self) -> Mapping[str, Place]:
        """Every registered place."""
        ...

    def within(self, place_id: str, outer_id: str) -> bool:
        """Whether the place is `outer_id` or lies inside it."""
        ...


class Judged(msgspec.Struct, frozen=True):
    """A judged batch.

    `rows` and `refused` are concatenated `LOG_ROW`s and `REFUSED_ROW`s in the batch's order, their `received` zero.
    `runs` are the sorted, disjoint, inclusive runs of all its seqs. `verdicts` has one entry a refused scan;
    `accepted` plus the sum of `refusals` is the number of scans sent.
    """

    rows: bytes
    refused: bytes
    verdicts: list[Verdict]
    runs: list[tuple[int, int]]
    accepted: int
    refusals: dict[Refusal, int]

    @property
    def seq_min(self) -> int:
        """The lowest seq of the batch, refused scans included."""
        return self.runs[0][0]

    @property
    def seq_max(self) -> int:
        """The highest seq of the batch, refused scans included."""
        return self.runs[-1][1]


class Refused(msgspec.Struct, frozen=True):
    """Why a scan is not taken, in a word of the closed list and in plain words that say what to do."""

    reason: Refusal
    detail: str


Fact = tuple[int, bytes, int]
"""Place number, 16-byte pseudonym, number of `How`: what a scan attests, once judged."""
Decide = Callable[[Scan], Fact | Refused]

NO_SUBJECT: Final = Refused(Refusal.SUBJECT_MISSING, "Send exactly one of code, cccd and subject.")
MANY_SUBJECTS: Final = Refused(Refusal.SUBJECT_AMBIGUOUS, "Send exactly one of code, cccd and subject.")
CITIZEN_NOT_ALLOWED: Final = Refused(
    Refusal.SUBJECT_NOT_ALLOWED, "This device may not send cccd: scan the person's code, or ask the administrator."
)
BARE_NOT_ALLOWED: Final = Refused(
    Refusal.SUBJECT_NOT_ALLOWED, "This device may not send subject: scan the person's code, or ask the administrator."
)
PHONE_NAMES_SUBJECT: Final = Refused(
    Refusal.SUBJECT_NOT_ALLOWED, "A phone attests its own holder: leave code, cccd and subject off."
)
PHONE_NAMES_PLACE: Final = Refused(
    Refusal.PLACE_NOT_ALLOWED, "A phone names a place by the code on the wall: send place_code, leave place off."
)
PHONE_WITHOUT_PLACE: Final = Refused(Refusal.PLACE_MISSING, "Scan the code on the wall and send it as place_code.")
SCANNER_NAMES_CODE: Final = Refused(
    Refusal.PLACE_NOT_ALLOWED, "This device serves its own place: leave place_code off."
)
DEVICE_WITHOUT_PLACE: Final = Refused(
    Refusal.PLACE_MISSING, "This device is assigned to no place: ask the administrator to enrol it at one, then resend."
)
DEVICE_PLACE_UNKNOWN: Final = Refused(
    Refusal.UNKNOWN_PLACE, "The device's own place is not registered: ask the administrator to, then resend."
)
PLACE_UNKNOWN: Final = Refused(
    Refusal.UNKNOWN_PLACE, "No place of this id is registered: correct place, or have it registered and resend."
)
PLACE_OUTSIDE: Final = Refused(
    Refusal.PLACE_NOT_ALLOWED, "The place does not lie within the device's own: correct place, or leave it off."
)
WALL_PLACE_UNKNOWN: Final = Refused(
    Refusal.UNKNOWN_PLACE, "The place of the code on the wall is not registered: tell the premises."
)
EXPIRED: Final = Refused(Refusal.EXPIRED_CODE, "The code had expired when it was scanned: ask for a fresh one.")
ISSUED_LATER: Final = Refused(
    Refusal.TIME_OUT_OF_RANGE, "The code was issued after the scan claims to have been made: set the device's clock."
)
REVOKED: Final = Refused(Refusal.REVOKED_CODE, "The code was reported lost or copied: ask for a new one.")
BAD_SUBJECT: Final = Refused(Refusal.BAD_SUBJECT, "subject must be 32 lower-case hexadecimal digits.")
REPEATED: Final = Refused(
    Refusal.SEQ_REPEATED, "This seq stands earlier in the batch; the first counts. Give every scan its own seq."
)
CODE_REFUSED: Final[Mapping[Refusal, Refused]] = {
    refused.reason: refused
    for refused in (
        Refused(Refusal.BAD_CODE, "The code cannot be read or is forged: scan it again, or ask for a fresh one."),
        Refused(
            Refusal.WRONG_CODE, "This is a code of another kind: scan a person's with a scanner, a place's by phone."
        ),
        Refused(Refusal.UNKNOWN_ISSUER, "The code was issued by another service: ask for one of this service."),
    )
}


def judge(
    batch: ScanBatch | ScanColumns,
    device: Device,
    key: DeviceKey,
    *,
    places: Places,
    keyring: Keyring,
    opener: CodeOpener,
    pseudonym_key: bytes,
    now_ms: int,
    limits: EdgeLimits,
) -> Judged:
    """Judge every scan of a batch that `device` signed with `key`. Raises nothing: refusals are values."""
    window = Window(
        now_ms - limits.scan_age_seconds_max * 1000,
        now_ms + limits.scan_ahead_seconds_max * 1000,
        limits.scan_ahead_seconds_max * 1000,
    )
    seqs = _seqs(batch)
    together = None
    if device.subject is not None:
        decide = _phone(bytes.fromhex(device.subject), places=places, opener=opener, ahead_ms=window.ahead_ms)
    else:
        server = _Server(device, places)
        if len(seqs) == len(batch) >= TOGETHER_SCANS_MIN:
            together = _together(batch, server, key, keyring=keyring, opener=opener, window=window)
        decide = _scanner(server, keyring=keyring, opener=opener, pseudonym_key=pseudonym_key, ahead_ms=window.ahead_ms)

    device_number, key_number = device.number, key.key
    kind_number, pack = KIND_NUMBER, LOG_ROW.pack
    scan_of = batch.scan if isinstance(batch, ScanColumns) else batch.scans.__getitem__
    rows: dict[int, bytes] = {}
    refused: list[tuple[Scan, Refused]] = []
    seen: set[int] = set()
    see = seen.add
    for index in range(len(batch)) if together is None else together.alone():
        scan = scan_of(index)
        seq = scan.seq
        if seq in seen:
            refused.append((scan, REPEATED))
            continue
        see(seq)
        at = scan.at
        if not window.earliest <= at <= window.latest:
            refused.append((scan, _out_of_range(at, now_ms, limits)))
            continue
        fact = decide(scan)
        if isinstance(fact, Refused):
            refused.append((scan, fact))
            continue
        place, subject, how = fact
        rows[index] = pack(device_number, key_number, seq, at, 0, place, subject, kind_number[scan.kind], how)
    return Judged(
        rows=b"".join(rows.values()) if together is None else together.packed(rows),
        refused=b"".join(_refused_row(device_number, key_number, scan, why.reason) for scan, why in refused),
        verdicts=[Verdict(scan.seq, why.reason.value, why.detail) for scan, why in refused],
        runs=_runs(seqs),
        accepted=len(batch) - len(refused),
        refusals=_counts(refused),
    )


def _seqs(batch: ScanBatch | ScanColumns) -> list[int]:
    """The seqs of a batch, each once and ascending."""
    return batch.seqs() if isinstance(batch, ScanColumns) else sorted({scan.seq for scan in batch.scans})


def _together(
    batch: ScanBatch | ScanColumns,
    server: "_Server",
    key: DeviceKey,
    *,
    keyring: Keyring,
    opener: CodeOpener,
    window: Window,
) -> Together | None:
    """What can be judged as columns, where that pays and no seq repeats."""
    own = server.own
    if isinstance(own, Refused):
        return None
    place: int | NDArray[np.uint32] = own.number
    if isinstance(batch, ScanColumns):
        columns: ScanColumns | None = batch
    else:
        columns, place = ScanColumns.of(batch.scans), _places(batch.scans, server, own.number)
    if columns is None:
        return None
    return judge_together(
        columns,
        device=server.device.number,
        key=key.key,
        place=place,
        keyring=keyring,
        opener=opener,
        window=window,
    )


def _places(scans: list[Scan], server: "_Server", own: int) -> NDArray[np.uint32]:
    """The number of each scan's place, or `JUDGED_ALONE` where it names one in vain, or more than a code."""
    numbers: dict[str | None, int] = {None: own}
    for place_id in {scan.place for scan in scans}:
        if place_id is not None:
            number = server.sub_place(place_id)
            numbers[place_id] = number if isinstance(number, int) else JUDGED_ALONE
    return np.fromiter(
        [
            numbers[scan.place]
            if scan.cccd is None and scan.subject is None and scan.place_code is None
            else JUDGED_ALONE
            for scan in scans
        ],
        np.uint32,
        len(scans),
    )


def duplicates(judged: Judged, known: list[tuple[int, int]]) -> list[Verdict]:
    """A verdict for each accepted scan whose seq lies in `known`: sorted, disjoint, inclusive runs seen before."""
    if not known:
        return []
    starts = [first for first, _ in known]
    verdicts = []
    for row in LOG_ROW.iter_unpack(judged.rows):
        seq = row[_SEQ_COLUMN]
        run = bisect_right(starts, seq) - 1
        if run >= 0 and seq <= known[run][1]:
            verdicts.append(Verdict(seq, DUPLICATE, DUPLICATE_DETAIL))
    return verdicts


class _Server:
    """A device that serves a place: its own, and those within that its scans may name."""

    def __init__(self, device: Device, places: Places) -> None:
        self.device: Final = device
        self._places: Final = places
        self._sub_places: Final[dict[str, int | Refused]] = {}
        own = places.by_id.get(device.place) if device.place is not None else None
        self.own: Final[Place | Refused] = own or (
            DEVICE_WITHOUT_PLACE if device.place is None else DEVICE_PLACE_UNKNOWN
        )

    def sub_place(self, place_id: str) -> int | Refused:
        """The number of a place within the device's own."""
        found = self._sub_places.get(place_id)
        if found is None:
            found = self._sub_places[place_id] = self._found(place_id)
        return found

    def _found(self, place_id: str) -> int | Refused:
        place = self._places.by_id.get(place_id)
        if place is None or isinstance(self.own, Refused):
            return PLACE_UNKNOWN
        return place.number if self._places.within(place_id, self.own.id) else PLACE_OUTSIDE


def _scanner(server: _Server, *, keyring: Keyring, opener: CodeOpener, pseudonym_key: bytes, ahead_ms: int) -> Decide:
    """How to decide a scan of a device that serves a place."""
    device, own = server.device, server.own
    if isinstance(own, Refused):
        return lambda scan: own
    own_number = own.number
    open_person, code_revoked = opener.open_person, keyring.code_revoked

    def decide(scan: Scan) -> Fact | Refused:
        place = own_number
        if scan.place_code is not None:
            return SCANNER_NAMES_CODE
        if scan.place is not None:
            narrowed = server.sub_place(scan.place)
            if isinstance(narrowed, Refused):
                return narrowed
            place = narrowed
        text = scan.code
        if text is None or scan.cccd is not None or scan.subject is not None:
            return _without_code(scan, place, device, pseudonym_key)
        code = open_person(text)
        if isinstance(code, Refusal):
            return CODE_REFUSED[code]
        if not code.issued - ahead_ms <= scan.at < code.expires:
            return EXPIRED if scan.at >= code.expires else ISSUED_LATER
        return REVOKED if code_revoked(code, scan.at) else (place, code.subject, BY_CODE)

    return decide


def _without_code(scan: Scan, place: int, device: Device, pseudonym_key: bytes) -> Fact | Refused:
    """Decide a scan that does not name its subject by a code alone."""
    match scan.code, scan.cccd, scan.subject:
        case None, None, None:
            return NO_SUBJECT
        case None, str(number), None:
            return _by_citizen(number, place, device, pseudonym_key)
        case None, None, str(pseudonym):
            return _by_subject(pseudonym, place, device)
        case _:
            return MANY_SUBJECTS


def _by_citizen(number: str, place: int, device: Device, pseudonym_key: bytes) -> Fact | Refused:
    if not device.may_citizen_number:
        return CITIZEN_NOT_ALLOWED
    error = citizen_number_error(number)
    if error is not None:
        return Refused(Refusal.BAD_CITIZEN_NUMBER, f"{error}: type it again from the card.")
    return place, pseudonym_of_citizen(number, pseudonym_key), BY_CITIZEN


def _by_subject(pseudonym: str, place: int, device: Device) -> Fact | Refused:
    if not device.may_subject:
        return BARE_NOT_ALLOWED
    if not _SUBJECT.fullmatch(pseudonym):
        return BAD_SUBJECT
    return place, bytes.fromhex(pseudonym), BY_SUBJECT


def _phone(holder: bytes, *, places: Places, opener: CodeOpener, ahead_ms: int) -> Decide:
    """How to decide a scan of a person's own phone."""

    def place_of(scan: Scan) -> int | Refused:
        if scan.place is not None:
            return PHONE_NAMES_PLACE
        if scan.place_code is None:
            return PHONE_WITHOUT_PLACE
        code = opener.open_place(scan.place_code)
        if isinstance(code, Refusal):
            return CODE_REFUSED[code]
        if code.expires is not None and scan.at >= code.expires:
            return EXPIRED
        if code.issued - ahead_ms > scan.at:
            return ISSUED_LATER
        place = places.by_id.get(code.place)
        return WALL_PLACE_UNKNOWN if place is None else place.number

    def decide(scan: Scan) -> Fact | Refused:
        if scan.code is not None or scan.cccd is not None or scan.subject is not None:
            return PHONE_NAMES_SUBJECT
        place = place_of(scan)
        return place if isinstance(place, Refused) else (place, holder, BY_PHONE)

    return decide


def _out_of_range(at: int, now_ms: int, limits: EdgeLimits) -> Refused:
    if at > now_ms:
        detail = f"at is {(at - now_ms) // 1000} s ahead of the server's clock: set the device's clock."
    else:
        days = limits.scan_age_seconds_max // 86_400
        detail = f"at is more than {days} days ago: set the device's clock; older scans are not taken."
    return Refused(Refusal.TIME_OUT_OF_RANGE, detail)


def _refused_row(device: int, key: int, scan: Scan, reason: Refusal) -> bytes:
    return REFUSED_ROW.pack(device, key, scan.seq, scan.at, 0, KIND_NUMBER[scan.kind], REFUSAL_NUMBER[reason])


def _counts(refused: list[tuple[Scan, Refused]]) -> dict[Refusal, int]:
    counts: dict[Refusal, int] = {}
    for _, why in refused:
        counts[why.reason] = counts.get(why.reason, 0) + 1
    return counts


def _runs(seqs: list[int]) -> list[tuple[int, int]]:
    """Distinct, ascending numbers as disjoint, inclusive runs."""
    first, last = seqs[0], seqs[-1]
    if last - first + 1 == len(seqs):
        return [(first, last)]
    runs = []
    previous = first
    for seq in seqs[1:]:
        if seq != previous + 1:
            runs.append((first, previous))
            first = seq
        previous = seq
    runs.append((first, previous))
    return runs
