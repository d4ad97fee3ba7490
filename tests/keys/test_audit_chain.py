"""The audit chain: whatever is done to it is found, at the place, and by its name."""

import base64
import hashlib
import json
import random
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.audit import GENESIS, START, AuditEvent, Head, linked
from keys.audit_chain import (
    Checkpoint,
    Damage,
    Row,
    against,
    checkpoint,
    genuine,
    person_tag,
    walked,
)
from tests.keys.samples import NOW, OTHER_SUBJECT, ROTATED, SECRETS, STRANGER, SUBJECT

ENTRIES = 12


def event(number: int, **more: object) -> AuditEvent:
    plain = AuditEvent(
        number=number,
        at=NOW + number,
        actor="Bác sĩ Hà",
        token="0a",
        role="analyst",
        action="case-read",
        object=f"f0-{number}",
        purpose="điều tra ca F0",
        people=("ab" * 16,),
    )
    return msgspec.structs.replace(plain, **more)


def chain_of(count: int, start: Head = START) -> list[Row]:
    rows, previous = [], start.hash
    for number in range(start.number + 1, start.number + count + 1):
        rows.append(Row(event(number), linked(previous, event(number))))
        previous = rows[-1].hash
    return rows


def numbered(rows: list[Row]) -> list[Row]:
    """The rows as somebody would lay them who gives them numbers without a gap."""
    return [Row(msgspec.structs.replace(row.event, number=number), row.hash) for number, row in enumerate(rows, 1)]


def found(rows: list[Row], upto: int | None = None) -> tuple[int, Damage | None]:
    """The number and kind of the first break; (the last number, None) where there is none."""
    ordered = sorted(rows, key=lambda row: (row.event.number, row.hash))
    last = ordered[-1].event.number if upto is None else upto
    head, broken = walked(START, ordered, upto=last)
    return (broken.number, broken.kind) if broken is not None else (head.number, None)


@given(st.text(), st.text(max_size=5), st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), max_size=3))
def test_an_independent_program_computes_the_same_hash(purpose: str, actor: str, people: list[str]) -> None:
    """As docs/adr/0026 has it, with nothing of this project's: JSON, its fields in order, and SHA-256."""
    one = event(7, purpose=purpose, actor=actor, people=tuple(people))
    names = ("number", "at", "actor", "token", "role", "action", "object", "purpose", "people", "digest")
    plain = {name: msgspec.to_builtins(getattr(one, name)) for name in names}
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    assert linked(b"\x01" * 32, one) == hashlib.sha256(b"truyvet/audit/v1\0" + b"\x01" * 32 + text).digest()


def test_a_known_answer() -> None:
    """Changes only where every kept chain breaks: then the domain's version must change, too."""
    assert linked(GENESIS, event(1)).hex() == "2bb29a79282080e003267b2ade187a9d268d5194ad3ec7369ea70a5bc4b8ab9f"


@given(st.integers(1, 40), st.data())
def test_what_was_written_holds_in_any_pieces(count: int, data: st.DataObject) -> None:
    rows, head = chain_of(count), START
    while head.number < count:
        upto = data.draw(st.integers(head.number + 1, count))
        head, broken = walked(head, [row for row in rows if row.event.number > head.number], upto=upto)
        assert broken is None
        assert head == Head(upto, rows[upto - 1].hash)


FIELDS = {
    "at": NOW - 1,
    "actor": "somebody else",
    "token": "0b",
    "role": "viewer",
    "action": "trace-read",
    "object": "f0-x",
    "purpose": "another purpose",
    "people": (),
    "digest": "00",
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("number", [1, 5, ENTRIES])
def test_an_altered_field_is_found(field: str, number: int) -> None:
    rows = chain_of(ENTRIES)
    row = rows[number - 1]
    rows[number - 1] = Row(msgspec.structs.replace(row.event, **{field: FIELDS[field]}), row.hash)
    assert found(rows) == (number, Damage.ALTERED)


@pytest.mark.parametrize("number", [1, 5, ENTRIES])
def test_an_altered_hash_is_found(number: int) -> None:
    rows = chain_of(ENTRIES)
    rows[number - 1] = Row(rows[number - 1].event, bytes(32))
    assert found(rows) == (number, Damage.ALTERED)


def test_an_entry_altered_together_with_its_hash_is_found_at_the_next() -> None:
    rows = chain_of(ENTRIES)
    changed = msgspec.structs.replace(rows[4].event, purpose="another purpose")
    rows[4] = Row(changed, linked(rows[3].hash, changed))
    assert found(rows) == (6, Damage.ALTERED)


@pytest.mark.parametrize("number", [1, 5, ENTRIES - 2])
@pytest.mark.parametrize("count", [1, 2])
def test_removed_entries_are_found(number: int, count: int) -> None:
    rows = chain_of(ENTRIES + 1)
    del rows[number - 1 : number - 1 + count]
    assert found(rows) == (number, Damage.REMOVED)
    assert found(numbered(rows)) == (number, Damage.REMOVED)


@pytest.mark.parametrize("number", [1, 5, ENTRIES])
def test_an_inserted_entry_is_found(number: int) -> None:
    rows = chain_of(ENTRIES)
    foreign = event(number, purpose="never happened")
    behind = rows[number - 2].hash if number > 1 else GENESIS
    for hash_ in (bytes(32), b"\xff" * 32, linked(behind, foreign)):
        doubled = [*rows, Row(foreign, hash_)]
        at, kind = found(doubled)
        assert kind is Damage.INSERTED or (hash_ == linked(behind, foreign) and number < ENTRIES)
        assert at in (number, number + 1)
        if hash_ != linked(behind, foreign):
            assert found(numbered([*rows[: number - 1], Row(foreign, hash_), *rows[number - 1 :]])) == (
                number,
                Damage.INSERTED,
            )


def test_an_entry_that_lies_there_twice_is_found() -> None:
    rows = chain_of(ENTRIES)
    assert found([*rows, rows[4]]) == (5, Damage.INSERTED)
    assert found([*rows, rows[-1]]) == (ENTRIES, Damage.INSERTED)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (5, 6), (5, 9), (ENTRIES - 1, ENTRIES), (1, ENTRIES)])
def test_entries_that_changed_places_are_found(one: int, other: int) -> None:
    rows = chain_of(ENTRIES)
    rows[one - 1], rows[other - 1] = rows[other - 1], rows[one - 1]
    assert found(numbered(rows)) == (one, Damage.REORDERED)


@pytest.mark.parametrize("kept", [0, 1, ENTRIES - 1])
def test_a_chain_that_ends_early_is_found(kept: int) -> None:
    rows = chain_of(ENTRIES)
    head, broken = walked(START, rows[:kept], upto=ENTRIES)
    assert broken is not None
    assert (head.number, broken.number, broken.kind) == (kept, kept + 1, Damage.REMOVED)
    assert against(Head(ENTRIES, rows[-1].hash), None) is not None


def test_a_chain_that_was_computed_anew_holds_and_disagrees_with_what_was_kept() -> None:
    rows = chain_of(ENTRIES)
    forged, previous = [], GENESIS
    for row in rows:
        changed = msgspec.structs.replace(row.event, actor="nobody")
        forged.append(Row(changed, linked(previous, changed)))
        previous = forged[-1].hash
    assert found(forged) == (ENTRIES, None)
    broken = against(Head(7, rows[6].hash), forged[6].hash)
    assert broken is not None
    assert (broken.number, broken.kind) == (7, Damage.REWRITTEN)
    assert against(Head(7, rows[6].hash), rows[6].hash) is None


@given(st.randoms(use_true_random=False), st.integers(2, 30))
def test_whatever_is_done_to_a_chain_is_found_no_later_than_one_behind(chance: random.Random, count: int) -> None:
    rows = chain_of(count)
    place = chance.randrange(count)
    what = chance.choice(["alter", "remove", "insert", "swap", "renumber", "rehash"])
    row = rows[place]
    if what == "alter":
        rows[place] = Row(msgspec.structs.replace(row.event, actor=f"{row.event.actor}!"), row.hash)
    elif what == "remove":
        del rows[place]
    elif what == "insert":
        rows.append(Row(event(place + 1, actor="X"), chance.randbytes(32)))
    elif what == "swap":
        other = chance.randrange(count - 1)
        other += other >= place
        place = min(place, other)
        rows[place], rows[other] = rows[other] if other > place else row, row if other > place else rows[other]
        rows = numbered(rows)
        if [one.hash for one in rows] == [one.hash for one in chain_of(count)]:
            return
    elif what == "renumber":
        number = chance.choice([0, count + 5])
        rows[place] = Row(msgspec.structs.replace(row.event, number=number), row.hash)
        place = 0 if number == 0 else place
    else:
        changed = msgspec.structs.replace(row.event, actor="X")
        rows[place] = Row(changed, linked(rows[place - 1].hash if place else GENESIS, changed))
    number, kind = found(rows, upto=count) if rows else (1, Damage.REMOVED)
    if what == "rehash" and place == count - 1:
        assert kind is None  # the head, and every checkpoint, say otherwise
    else:
        assert kind is not None
        assert number in (place, place + 1, place + 2)


class TestCheckpoints:
    def test_a_checkpoint_is_the_servers_own_also_after_a_rotation(self) -> None:
        kept = checkpoint(Head(7, b"\x07" * 32), NOW, SECRETS.current)
        assert (kept.number, kept.hash, kept.at, kept.kid) == (7, "07" * 32, NOW, 1)
        assert genuine(kept, SECRETS)
        assert genuine(kept, ROTATED)
        assert not genuine(kept, STRANGER)

    @pytest.mark.parametrize(
        "change", [{"number": 8}, {"hash": "08" * 32}, {"at": NOW + 1}, {"kid": 2}, {"public": bytes(32)}], ids=str
    )
    def test_a_changed_checkpoint_is_nobodys(self, change: dict[str, object]) -> None:
        kept = checkpoint(Head(7, b"\x07" * 32), NOW, SECRETS.current)
        assert not genuine(msgspec.structs.replace(kept, **change), ROTATED)

    def test_openssl_finds_the_signature_good(self, tmp_path: Path) -> None:
        kept = checkpoint(Head(7, b"\x07" * 32), NOW, SECRETS.current)
        plain = msgspec.to_builtins(kept)
        der = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(plain["public"])  # RFC 8410, section 4
        (tmp_path / "key.der").write_bytes(der)
        (tmp_path / "signature").write_bytes(base64.b64decode(plain["signature"]))
        text = f"truyvet audit checkpoint v1\n{kept.number}\n{kept.hash}\n{kept.at}\n"
        (tmp_path / "text").write_text(text, encoding="ascii")
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.der", "-keyform", "DER", "-rawin"]
        command += ["-in", "text", "-sigfile", "signature"]
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        (tmp_path / "text").write_text(text.replace("\n7\n", "\n8\n"), encoding="ascii")
        assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode != 0

    def test_it_survives_its_way_as_json(self) -> None:
        kept = checkpoint(Head(7, b"\x07" * 32), NOW, SECRETS.current)
        assert msgspec.json.decode(msgspec.json.encode(kept), type=Checkpoint) == kept


def test_a_tag_names_one_person_and_only_the_server_can_make_it() -> None:
    tag = person_tag(SUBJECT.hex(), SECRETS)
    assert len(bytes.fromhex(tag)) == 16
    assert tag == person_tag(SUBJECT.hex(), ROTATED)
    assert len({tag, person_tag(OTHER_SUBJECT.hex(), SECRETS), person_tag(SUBJECT.hex(), STRANGER)}) == 3
    assert SUBJECT.hex() not in tag
