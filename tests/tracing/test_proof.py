import os
from collections.abc import Iterator

import msgspec
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from events.control import DeviceEnrolled, DeviceKeyRevoked
from events.problems import ProblemError
from events.scans import Kind, Scan
from ingest.evidence import open_evidence, seal_evidence
from storage.clickhouse import Store
from tests.tracing.desk import AN, HOUR, Desk, now_ms, visit
from tracing.proof import Proof, ProofVerdict, Prover


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    """One batch of four scans is in the log: by code, by citizen number, at a sub-place, and an exit."""
    with Desk(valkey, store).running() as desk:
        at = now_ms() - HOUR
        desk.send(
            visit(desk, 11, at, AN),
            Scan(12, at, Kind.IN, cccd="001301000001"),
            visit(desk, 13, at + 1, AN, place="cafe"),
            visit(desk, 14, at + 2, AN, Kind.OUT),
        )
        desk.settle()
        yield desk


def prove(desk: Desk, seq: int) -> Proof:
    return desk.parts.prover.prove("door", seq, now_ms())


def change_log(desk: Desk, assignment: str, seq: int) -> None:
    desk.store.command(f"ALTER TABLE log UPDATE {assignment} WHERE seq = {seq} SETTINGS mutations_sync = 1")


def replace_evidence(desk: Desk, sealed: bytes) -> None:
    """Put other sealed bytes in the place of the only evidence."""
    columns = ["device", "key", "seq_min", "seq_max", "received", "entry", "sealed"]
    row = list(desk.store.rows(f"SELECT {', '.join(columns[:-1])} FROM evidence")[0])
    desk.store.command("TRUNCATE TABLE evidence")
    desk.store.insert("evidence", columns, [[*row, sealed]])


def sealed_of(desk: Desk) -> bytes:
    return bytes.fromhex(desk.store.rows("SELECT hex(sealed) FROM evidence")[0][0])


def test_a_scan_is_proven_whatever_named_its_subject(desk: Desk) -> None:
    for seq in (11, 12, 13, 14):
        proof = prove(desk, seq)
        assert (proof.verdict, proof.quarantined) == (ProofVerdict.PROVEN, False)
        assert (proof.device, proof.seq, proof.key) == ("door", seq, 1)
        assert proof.scan.place == ("cafe" if seq == 13 else "mall")


def test_anybody_can_repeat_the_verification_from_the_proof_alone(desk: Desk) -> None:
    proof = prove(desk, 11)
    assert proof.public_key is not None
    assert proof.signature is not None
    assert proof.signature_base is not None
    assert proof.public_key == desk.door_key.public_key().public_bytes_raw()
    Ed25519PublicKey.from_public_bytes(proof.public_key).verify(proof.signature, proof.signature_base.encode())


def test_a_proof_holds_no_code_and_no_citizen_number(desk: Desk) -> None:
    for seq in (11, 12):
        text = msgspec.json.encode(prove(desk, seq)).decode()
        assert "TV1." not in text
        assert "001301000001" not in text


def test_what_the_log_does_not_have_is_not_found(desk: Desk) -> None:
    for device, seq in (("door", 10), ("door", 15), ("nobody", 11), ("door", -1), ("door", 2**70)):
        with pytest.raises(ProblemError) as error:
            desk.parts.prover.prove(device, seq, now_ms())
        assert error.value.problem.status == 404


@pytest.mark.parametrize(
    "assignment",
    [
        "at = at + INTERVAL 1 SECOND",
        "kind = 'out'",
        "how = 'subject'",
        "subject = unhex('ffffffffffffffffffffffffffffffff')",
        "place = 1",
    ],
)
def test_a_log_that_says_something_else_than_was_signed_is_found_out(desk: Desk, assignment: str) -> None:
    change_log(desk, assignment, 13)
    assert prove(desk, 13).verdict is ProofVerdict.SCAN_DIFFERS
    assert prove(desk, 11).verdict is ProofVerdict.PROVEN


def test_a_log_that_moves_a_scan_away_from_its_devices_own_place_is_found_out(desk: Desk) -> None:
    """A scan that names no place was made where its device was enrolled, and nowhere else."""
    change_log(desk, "place = 2", 11)
    assert prove(desk, 11).verdict is ProofVerdict.SCAN_DIFFERS
    change_log(desk, "place = 99", 11)
    assert prove(desk, 11).verdict is ProofVerdict.SCAN_DIFFERS


def test_a_device_that_has_moved_since_still_proves_its_scans(desk: Desk) -> None:
    desk.parts.registrar.record(DeviceEnrolled(msgspec.structs.replace(desk.door, place="cafe")))
    assert prove(desk, 11).verdict is ProofVerdict.PROVEN


def test_a_scan_that_was_never_signed_is_found_out(desk: Desk) -> None:
    desk.store.command("INSERT INTO log SELECT * REPLACE (99 AS seq) FROM (SELECT * FROM log WHERE seq = 11)")
    assert prove(desk, 99).verdict is ProofVerdict.EVIDENCE_MISSING
    desk.store.command("ALTER TABLE evidence UPDATE seq_max = 99 WHERE 1 SETTINGS mutations_sync = 1")
    assert prove(desk, 99).verdict is ProofVerdict.SCAN_MISSING


def test_the_first_delivery_is_what_is_proven(desk: Desk) -> None:
    first = prove(desk, 11).received
    desk.send(visit(desk, 11, now_ms() - 2 * HOUR, AN))
    desk.settle()
    assert desk.store.rows("SELECT count() FROM log WHERE seq = 11") == [(2,)]
    proof = prove(desk, 11)
    assert (proof.received, proof.verdict) == (first, ProofVerdict.PROVEN)


def test_lost_evidence_is_said_to_be_missing(desk: Desk) -> None:
    desk.store.command("TRUNCATE TABLE evidence")
    proof = prove(desk, 11)
    assert (proof.verdict, proof.signature, proof.signature_base) == (ProofVerdict.EVIDENCE_MISSING, None, None)


def test_damaged_evidence_is_said_to_be_broken(desk: Desk) -> None:
    sealed = bytearray(sealed_of(desk))
    sealed[-1] ^= 1
    replace_evidence(desk, bytes(sealed))
    assert prove(desk, 11).verdict is ProofVerdict.EVIDENCE_BROKEN


def test_evidence_sealed_for_another_device_is_broken(desk: Desk) -> None:
    evidence = open_evidence(desk.secrets, sealed_of(desk), desk.door.number)
    replace_evidence(desk, seal_evidence(desk.secrets, evidence, desk.door.number + 1, os.urandom(12)))
    assert prove(desk, 11).verdict is ProofVerdict.EVIDENCE_BROKEN


def test_a_body_other_than_the_signed_one_does_not_pass(desk: Desk) -> None:
    evidence = open_evidence(desk.secrets, sealed_of(desk), desk.door.number)
    other = msgspec.structs.replace(evidence, body=evidence.body.replace(b'"seq":11', b'"seq":17'))
    assert other.body != evidence.body
    replace_evidence(desk, seal_evidence(desk.secrets, other, desk.door.number, os.urandom(12)))
    proof = prove(desk, 12)
    assert proof.verdict is ProofVerdict.SIGNATURE_INVALID
    assert proof.signature_base is not None


def test_another_key_does_not_verify(desk: Desk) -> None:
    change_log(desk, "key = 2", 11)
    desk.store.command("ALTER TABLE evidence UPDATE key = 2 WHERE 1 SETTINGS mutations_sync = 1")
    assert prove(desk, 11).verdict is ProofVerdict.KEY_UNKNOWN


def test_a_key_revoked_from_before_quarantines_what_it_signed(desk: Desk) -> None:
    received = prove(desk, 11).received
    desk.parts.registrar.record(DeviceKeyRevoked("door", 1, received + 1))
    assert prove(desk, 11).quarantined is False
    desk.parts.registrar.record(DeviceKeyRevoked("door", 1, received))
    proof = prove(desk, 11)
    assert (proof.verdict, proof.quarantined) == (ProofVerdict.PROVEN, True)


def test_other_secrets_open_nothing(desk: Desk) -> None:
    stranger = Desk(desk.redis, desk.store).secrets
    prover = Prover(desk.store, desk.registry, stranger)
    assert prover.prove("door", 11, now_ms()).verdict is ProofVerdict.EVIDENCE_BROKEN
