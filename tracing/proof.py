"""Proves one scan again from what was kept: the device's own signature over the request that carried it.

Trusts nothing that the projections or traces say: the log's row is compared with the signed body, and whoever holds
the public key can repeat the last step from the proof's own text.
"""

import base64
import enum
from typing import Final

import msgspec

from events import problems
from events.devices import Device
from events.problems import ProblemError
from events.scans import SEQ_MAX, Evidence, How, Kind, Refusal, Scan, ScanBatch
from ingest.decode import decode_body
from ingest.evidence import EvidenceBroken, open_evidence, signature_holds, signed_text
from ingest.limits import EdgeLimits
from keys import http_signatures
from keys.codes import CodeOpener
from keys.http_signatures import MalformedSignature
from keys.pseudonyms import pseudonym_of_citizen
from keys.secrets import ServerSecrets
from storage.clickhouse import Row, Store
from tracing.registry import Registry


class ProofVerdict(enum.StrEnum):
    """What came of proving a scan; anything but `proven` wants somebody to look."""

    PROVEN = "proven"
    EVIDENCE_MISSING = "evidence_missing"
    EVIDENCE_BROKEN = "evidence_broken"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    BODY_UNREADABLE = "body_unreadable"
    SCAN_MISSING = "scan_missing"
    SCAN_DIFFERS = "scan_differs"


class ProvenScan(msgspec.Struct, frozen=True, kw_only=True):
    """The scan as the log has it. `at` in Unix ms; `place` null where the registry does not know it."""

    at: int
    kind: Kind
    how: How
    place: str | None
    subject: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A scan and its verdict.

    `received` in Unix ms, `signed_at` in Unix seconds as the signature says. `quarantined`: the key was revoked from
    a time at or before `received`, so that no trace uses the scan although the signature holds. `public_key` and
    `signature` are base64; the signature is over the bytes of `signature_base`, whose content-digest names the body.
    """

    device: str
    seq: int
    key: int
    received: int
    verdict: ProofVerdict
    quarantined: bool
    scan: ProvenScan
    signed_at: int | None = None
    public_key: bytes | None = None
    signature: bytes | None = None
    signature_base: str | None = None


class _LogRow(msgspec.Struct, frozen=True):
    """A scan's first delivery in the log. Times in Unix ms; numbers are the registry's."""

    key: int
    at: int
    received: int
    place: int
    subject: bytes
    kind: Kind
    how: How


class _Signed(msgspec.Struct, frozen=True):
    """What the evidence says once it is opened; None where it does not get that far."""

    verdict: ProofVerdict
    signed_at: int | None = None
    signature: bytes | None = None
    base: str | None = None


class Prover:
    """Proves scans from one store, with the server's secrets."""

    def __init__(
        self, store: Store, registry: Registry, secrets: ServerSecrets, limits: EdgeLimits | None = None
    ) -> None:
        """`limits` are the edge's, which took the bodies in."""
        self._store: Final = store
        self._registry: Final = registry
        self._secrets: Final = secrets
        self._opener: Final = CodeOpener(secrets)
        self._limits: Final = limits or EdgeLimits()

    def prove(self, device_id: str, seq: int, now_ms: int) -> Proof:
        """The proof of `(device, seq)`. Raises `StoreDown`, or NOT_FOUND as `ProblemError` where the log lacks it."""
        device = self._registry.keyring.device(device_id)
        row = self._first_delivery(device.number, seq) if device is not None and 1 <= seq <= SEQ_MAX else None
        if device is None or row is None:
            raise ProblemError(problems.NOT_FOUND.problem("The log has no such scan."))
        key = self._registry.keyring.key(f"{device.id}.{row.key}")
        public = key.public if key is not None else None
        signed = self._signed(device, seq, row, public)
        return Proof(
            device=device.id,
            seq=seq,
            key=row.key,
            received=row.received,
            verdict=signed.verdict,
            quarantined=self._registry.keyring.quarantined(device.number, row.key, row.received, now_ms),
            scan=self._scan(row),
            signed_at=signed.signed_at,
            public_key=public,
            signature=signed.signature,
            signature_base=signed.base,
        )

    def _first_delivery(self, device: int, seq: int) -> _LogRow | None:
        rows = self._store.rows(
            "SELECT key, toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(received) AS received_ms, place,"
            " hex(subject), toString(kind), toString(how) FROM log"
            " WHERE device = {device:UInt32} AND seq = {seq:UInt64}"
            " ORDER BY received_ms, key, at, place, subject, kind LIMIT 1",
            {"device": device, "seq": seq},
        )
        return _log_row(rows[0]) if rows else None

    def _signed(self, device: Device, seq: int, row: _LogRow, public: bytes | None) -> _Signed:
        """The best that the evidence kept for the delivery can say; two batches may share a millisecond."""
        sealed = self._store.rows(
            "SELECT base64Encode(sealed) FROM evidence WHERE device = {device:UInt32} AND seq_min <= {seq:UInt64}"
            " AND seq_max >= {seq:UInt64} AND key = {key:UInt16}"
            " AND received = fromUnixTimestamp64Milli({received:Int64}, 'UTC')",
            {"device": device.number, "seq": seq, "key": row.key, "received": row.received},
        )
        found = _Signed(ProofVerdict.EVIDENCE_MISSING)
        for (text,) in sealed:
            found = self._examine(base64.b64decode(text), device, seq, row, public)
            if found.verdict is ProofVerdict.PROVEN:
                break
        return found

    def _examine(self, sealed: bytes, device: Device, seq: int, row: _LogRow, public: bytes | None) -> _Signed:
        try:
            evidence = open_evidence(self._secrets, sealed, device.number)
        except EvidenceBroken:
            return _Signed(ProofVerdict.EVIDENCE_BROKEN)
        try:
            signed = http_signatures.parse_signature_input(evidence.signature_input)
            signature = http_signatures.parse_signature(evidence.signature, signed.label)
            base = signed_text(evidence, signed).decode()
        except MalformedSignature:
            return _Signed(ProofVerdict.SIGNATURE_INVALID)
        if public is None:
            verdict = ProofVerdict.KEY_UNKNOWN
        elif signed.keyid != f"{device.id}.{row.key}" or not signature_holds(evidence, public):
            verdict = ProofVerdict.SIGNATURE_INVALID
        else:
            verdict = self._compare(evidence, device, seq, row)
        return _Signed(verdict, signed.created, signature, base)

    def _compare(self, evidence: Evidence, device: Device, seq: int, row: _LogRow) -> ProofVerdict:
        """What the signed body says of the scan, beside what the log says."""
        content_type = evidence.headers.get("content-type", "")
        content_encoding = evidence.headers.get("content-encoding", "")
        try:
            batch = decode_body(evidence.body, content_type, content_encoding, self._limits)
        except ProblemError:
            return ProofVerdict.BODY_UNREADABLE
        scan = _in_batch(batch, seq)
        if scan is None:
            return ProofVerdict.SCAN_MISSING
        return ProofVerdict.PROVEN if self._same(scan, row, device) else ProofVerdict.SCAN_DIFFERS

    def _same(self, scan: Scan, row: _LogRow, device: Device) -> bool:
        """Whether the log's row says what the signed scan says.

        A scan that names no place was made at the device's own. Which one that was is not signed: the registry says
        where the device is or ever was enrolled, and elsewhere it cannot have been.
        """
        return (
            scan.at == row.at
            and scan.kind == row.kind
            and self._subject(scan, device) == (row.how, row.subject)
            and self._place_fits(scan, device, row.place)
        )

    def _subject(self, scan: Scan, device: Device) -> tuple[How, bytes] | None:
        """How the scan names its subject, and whom; None where it cannot be told."""
        try:
            if scan.code is not None:
                code = self._opener.open_person(scan.code)
                return None if isinstance(code, Refusal) else (How.CODE, code.subject)
            if scan.cccd is not None:
                return How.CITIZEN, pseudonym_of_citizen(scan.cccd, self._secrets.pseudonym_key)
            if scan.subject is not None:
                return How.SUBJECT, bytes.fromhex(scan.subject)
            return (How.PHONE, bytes.fromhex(device.subject)) if device.subject is not None else None
        except ValueError:
            return None

    def _place_fits(self, scan: Scan, device: Device, number: int) -> bool:
        named = scan.place
        if scan.place_code is not None:
            code = self._opener.open_place(scan.place_code)
            if isinstance(code, Refusal):
                return False
            named = code.place
        fitting = self._registry.device_places(device.id) if named is None else {named}
        place = self._registry.places().by_number.get(number)
        return place is not None and place.id in fitting

    def _scan(self, row: _LogRow) -> ProvenScan:
        place = self._registry.places().by_number.get(row.place)
        return ProvenScan(
            at=row.at,
            kind=row.kind,
            how=row.how,
            place=place.id if place is not None else None,
            subject=row.subject.hex(),
        )


def _in_batch(batch: ScanBatch, seq: int) -> Scan | None:
    """The scan of this seq; of several the edge took the first."""
    return next((scan for scan in batch.scans if scan.seq == seq), None)


def _log_row(row: Row) -> _LogRow:
    key, at, received, place, subject, kind, how = row
    return _LogRow(key, at, received, place, bytes.fromhex(subject), Kind(kind), How(how))
