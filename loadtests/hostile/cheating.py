"""Requests that a device signs itself and should not have: bad keys, bad bodies, bad codes, bad numbers."""

import random
from typing import Any, Final

from app.clock import DAY_MS, now_ms
from loadtests.hostile.actors import HOUR_MS, Actor
from loadtests.hostile.attack import GOOD_SEQS_FROM, NEVER_SEQS_FROM, Attack, Fields, Signed, Stage
from loadtests.hostile.signing import JSON, MSGPACK
from loadtests.hostile.tampering import Maker

UNDECODABLE: Final = frozenset({"body-malformed", "body-invalid"})
BAD_CODE: Final = frozenset({"bad_code", "wrong_code", "unknown_issuer"})
HEAD_TO: Final = 80
"""Where a personal code's head ends in its text; the server looks at nothing behind it."""
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
JSON_VALUES: Final = (
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1.5", b"-1", b"0", b"9007199254740992",
    b"18446744073709551616", b"-9223372036854775809", b"1" * 5_000, b"null", b"true", b'"1"', b"[]", b"{}",
    b"1e15", b"0x10", b"01", b"\xef\xbb\xbf1", b'"\\ud800"', b'"\xff"',
)  # fmt: skip
JSON_BODIES: Final = (
    b"", b" ", b"null", b"[]", b"{}", b'{"scans":[]}', b'{"scans":{}}', b'{"scans":[1]}', b'{"scans":[{}]}',
    b'\xef\xbb\xbf{"scans":[]}', b"\x00", b"[" * 100_000, b'{"scans":' * 100_000,
    b'{"scans":[{"seq":1,"at":1,"kind":"in"',
    b'{"scans":[{"seq":1,"at":1,"kind":"in","more":1}]}', b'{"scans":[{"seq":1,"at":1,"kind":"IN"}]}',
    b'{"scans":[{"seq":1,"at":1,"kind":"in","code":"\\ud800"}]}',
    b'{"scans":[{"seq":1,"at":1,"kind":"in","code":"\xff"}]}',
    b'{"scans":[{"seq":1,"at":4102444800001,"kind":"in"}]}',
)  # fmt: skip
MSGPACK_BODIES: Final = (
    b"", b"\xc0", b"\xc1", b"\x80", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\x91" * 100_000, b"\x81\xa5scans" * 20_000,
    b"\x81\xa5scans\xdd\xff\xff\xff\xff", b"\x81\xa5scans\x90", b"\x81\xa5scans\x91\xdf\xff\xff\xff\xff",
    b"\x81\xa5scans\x91\xd6\xff\x00\x00\x00\x00", b"\x81\xa5scans\x91\x83\xa3seq\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\x81\xa5scans\x91\x83\xa3seq\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa2at\x01\xa4kind\xa2in",
    b"\x81\xa5scans\x91\x83\xa3seq\x01\xa2at\xff\xa4kind\xa2in", b"\x81\xa5scans\x91\x81\xa3seq\xa2\xff\xff",
    b"\x81\xc4\x05scans\x90", b"\x81\x01\x90",
)  # fmt: skip


def makers() -> tuple[Maker, ...]:
    """Every attack of this module."""
    return (
        key_out_of_force,
        key_of_nobody,
        name_of_another,
        component_never_signed,
        body_of_no_form,
        number_of_no_form,
        encoding_broken,
        code_bit,
        code_spelt_otherwise,
        code_not_good,
        code_on_the_wall,
        wall_not_good,
        subject_not_allowed,
        place_of_another,
        clock_a_day_ahead,
        clock_a_day_behind,
        clock_a_month_behind,
        seq_twice_in_a_batch,
        seq_for_another_scan,
        batch_signed_anew,
    )


def _refused(stage: Stage, name: str, actor: Actor, scan: Fields, *verdicts: str) -> Attack:
    """The scan, well signed, of which nothing may be accepted."""
    return Attack(name=name, raw=stage.request(actor, [scan]).raw(), verdicts=frozenset(verdicts))


def _gate(stage: Stage) -> Actor:
    return stage.chance.choice((stage.cast.hall, stage.cast.gate))


def key_out_of_force(stage: Stage) -> Attack:
    """A key that is revoked, replaced, or not in force yet."""
    actor = stage.chance.choice((stage.cast.revoked, stage.cast.retired, stage.cast.early))
    wire = stage.victim(actor).wire
    return Attack(name="key: out of force", raw=wire.raw(), problems=frozenset({"key-revoked"}))


def key_of_nobody(stage: Stage) -> Attack:
    """A stranger's own key and name."""
    wire = stage.victim(stage.cast.stranger).wire
    return Attack(name="key: a stranger's", raw=wire.raw(), problems=frozenset({"key-unknown"}))


def name_of_another(stage: Stage) -> Attack:
    """A device signs with its own key in another's name."""
    actor, other = stage.chance.sample((*stage.cast.honest, stage.cast.stranger), 2)
    scan, _, _ = stage.scan(actor, seq=stage.cast.seq(actor, NEVER_SEQS_FROM))
    other = other if other is not stage.cast.stranger else stage.cast.hall
    if actor is other:
        actor = stage.cast.stranger
    wire = stage.request(actor, [scan], keyid=other.keyid)
    return Attack(name="key: in another's name", raw=wire.raw(), problems=frozenset({"signature-invalid"}))


def component_never_signed(stage: Stage) -> Attack:
    """A device's library signs less than it must."""
    actor = stage.chance.choice(stage.cast.honest)
    scan, _, _ = stage.scan(actor, seq=stage.cast.seq(actor, NEVER_SEQS_FROM))
    uncovered = stage.chance.choice(("@method", "@path", "content-type", "content-digest"))
    wire = stage.request(actor, [scan], uncovered=uncovered)
    return Attack(name="signs too little", raw=wire.raw(), problems=frozenset({"signature-incomplete"}))


def body_of_no_form(stage: Stage) -> Attack:
    """A signed body that is no batch."""
    actor = stage.chance.choice(stage.cast.honest)
    packed = stage.chance.random() < 0.5
    body = stage.chance.choice(MSGPACK_BODIES if packed else JSON_BODIES)
    if stage.chance.random() < 0.2:
        body = stage.chance.randbytes(stage.chance.randrange(1, 200))
    wire = stage.signed(actor, body, content_type=MSGPACK if packed else JSON)
    return Attack(name="body: of no form", raw=wire.raw(), problems=UNDECODABLE)


def number_of_no_form(stage: Stage) -> Attack:
    """A seq or a time that is none."""
    actor = stage.chance.choice(stage.cast.honest)
    seq, at = b"1", b"1"
    value = stage.chance.choice(JSON_VALUES)
    if stage.chance.random() < 0.5 or value in {b"0", b"1e15", b"9007199254740992"}:
        seq = value if value != b"1e15" else b"1e16"
    else:
        at = value
    body = b'{"scans":[{"seq":%s,"at":%s,"kind":"in"}]}' % (seq, at)
    wire = stage.signed(actor, body, content_type=JSON)
    return Attack(name="number: of no form", raw=wire.raw(), problems=UNDECODABLE)


def encoding_broken(stage: Stage) -> Attack:
    """A body that is not compressed as it says."""
    actor = stage.chance.choice(stage.cast.honest)
    encoding = stage.chance.choice(("gzip", "zstd", "br", "gzip, zstd"))
    body = stage.chance.choice((b"", b"{}", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", stage.chance.randbytes(60)))
    wire = stage.signed(actor, body, encoding=encoding)
    problems = UNDECODABLE | {"content-encoding-unknown"}
    return Attack(name="body: badly compressed", raw=wire.raw(), problems=problems)


def code_bit(stage: Stage) -> Attack:
    """One character of a personal code is another."""
    text = stage.chance.choice(stage.cast.codes.good)[1]
    place = stage.chance.randrange(HEAD_TO)
    other = stage.chance.choice([each for each in ALPHABET if each != text[place]])
    actor = _gate(stage)
    scan, _, _ = stage.scan(actor, code=text[:place] + other + text[place + 1 :])
    return _refused(stage, "code: altered", actor, scan, *BAD_CODE)


def code_spelt_otherwise(stage: Stage) -> Attack:
    """A personal code in a spelling that a lenient reader may take."""
    text = stage.chance.choice(stage.cast.codes.good)[1]
    spelt = stage.chance.choice(
        (
            text.lower(),
            f" {text}",
            f"{text}\n",
            f"{text}=",
            text[:HEAD_TO] + ".",
            text[:-1],
            text + "A",
            text * 2,
            text.replace("TV1.", "TV2."),
            text[:HEAD_TO].replace("-", "+").replace("_", "/") + "+",
            "TV1.",
            "TV1..",
            text[:HEAD_TO] + "\0" + text[HEAD_TO + 1 :],
            text[:40] + "ạ" + text[41:],
            "",
            "\0",
            "TV1." + "A" * 76,
        )
    )
    actor = _gate(stage)
    scan, _, _ = stage.scan(actor, code=spelt)
    return _refused(stage, "code: spelt otherwise", actor, scan, *BAD_CODE)


def code_not_good(stage: Stage) -> Attack:
    """A code that is expired, of a later time, revoked, or of another issuer."""
    codes = stage.cast.codes
    text, verdict = stage.chance.choice(
        (
            (codes.expired, "expired_code"),
            (codes.later, "time_out_of_range"),
            (codes.revoked, "revoked_code"),
            (codes.same_kid, "bad_code"),
            (codes.other_kid, "unknown_issuer"),
        )
    )
    actor = _gate(stage)
    scan, _, _ = stage.scan(actor, code=text, at=now_ms())
    return _refused(stage, f"code: {verdict}", actor, scan, verdict)


def code_on_the_wall(stage: Stage) -> Attack:
    """A place's code where a person's belongs, and the reverse."""
    codes = stage.cast.codes
    if stage.chance.random() < 0.5:
        actor = _gate(stage)
        scan, _, _ = stage.scan(actor, code=codes.wall)
    else:
        actor = stage.cast.phone
        scan, _, _ = stage.scan(actor, place_code=stage.chance.choice(codes.good)[1])
    return _refused(stage, "code: of another kind", actor, scan, "wrong_code")


def wall_not_good(stage: Stage) -> Attack:
    """A code on the wall that is expired, forged or altered."""
    codes = stage.cast.codes
    place = stage.chance.randrange(len(codes.wall))
    altered = codes.wall[:place] + ("A" if codes.wall[place] != "A" else "B") + codes.wall[place + 1 :]
    text, verdicts = stage.chance.choice(
        ((codes.wall_expired, {"expired_code"}), (codes.wall_forged, {"bad_code"}), (altered, BAD_CODE))
    )
    scan, _, _ = stage.scan(stage.cast.phone, place_code=text, at=now_ms())
    return _refused(stage, "code: a bad wall's", stage.cast.phone, scan, *verdicts)


def subject_not_allowed(stage: Stage) -> Attack:
    """A person named in a way that the device may not use, in two ways, or in none."""
    person: dict[str, Any] = stage.chance.choice(
        (
            {"code": None, "cccd": "001301000001"},
            {"code": None, "subject": "0" * 32},
            {"cccd": "001301000001"},
            {"subject": "0" * 32},
            {"code": None},
        )
    )
    actor = stage.chance.choice(stage.cast.honest)
    if not actor.place:
        person = {"code": stage.chance.choice(stage.cast.codes.good)[1]}
    scan, _, _ = stage.scan(actor, **person)
    return _refused(
        stage, "subject: not allowed", actor, scan, "subject_not_allowed", "subject_ambiguous", "subject_missing"
    )


def place_of_another(stage: Stage) -> Attack:
    """A device names a place that is not its own."""
    cast = stage.cast
    hall, gate, booth = cast.places
    actor, fields = stage.chance.choice(
        (
            (cast.hall, {"place": gate.id}),
            (cast.hall, {"place": booth.id}),
            (cast.gate, {"place": hall.id}),
            (cast.hall, {"place_code": cast.codes.wall}),
            (cast.gate, {"place": "nowhere"}),
            (cast.phone, {"place": hall.id}),
            (cast.phone, {"place_code": None}),
        )
    )
    scan, _, _ = stage.scan(actor, **fields)
    return _refused(stage, "place: another's", actor, scan, "place_not_allowed", "unknown_place", "place_missing")


def clock_a_day_ahead(stage: Stage) -> Attack:
    """Scans made tomorrow."""
    actor = _gate(stage)
    scan, _, _ = stage.scan(actor, at=now_ms() + stage.chance.choice((DAY_MS, HOUR_MS, 330_000)))
    return _refused(stage, "clock: ahead", actor, scan, "time_out_of_range")


def clock_a_day_behind(stage: Stage) -> Attack:
    """Scans made yesterday: they are good."""
    actor = _gate(stage)
    scan, subject, how = stage.scan(actor, seq=stage.cast.seq(actor, GOOD_SEQS_FROM), at=stage.cast.now_ms - DAY_MS)
    wire = stage.request(actor, [scan])
    row = (actor.device.number, actor.number, scan["seq"], scan["at"], actor.place, subject.hex(), scan["kind"], how)
    return Attack(name="clock: a day behind", raw=wire.raw(), rows=(row,), signed=Signed(actor, wire, (row,)))


def clock_a_month_behind(stage: Stage) -> Attack:
    """Scans made too long ago."""
    actor = _gate(stage)
    scan, _, _ = stage.scan(actor, at=stage.chance.choice((0, 1, now_ms() - 29 * DAY_MS)))
    return _refused(stage, "clock: a month behind", actor, scan, "time_out_of_range")


def seq_twice_in_a_batch(stage: Stage) -> Attack:
    """Two refused scans under one seq: neither may be taken for the other."""
    actor = _gate(stage)
    scan, _, _ = stage.scan(actor, code=stage.cast.codes.expired, at=now_ms())
    twin = scan | {"kind": "out"}
    wire = stage.request(actor, [scan, twin])
    return Attack(name="seq: twice in a batch", raw=wire.raw(), verdicts=frozenset({"expired_code", "seq_repeated"}))


def seq_for_another_scan(stage: Stage) -> Attack:
    """A seq that was taken stands for another scan now: kept beside the first, which counts."""
    first = stage.taken()
    actor, seq = first.actor, first.rows[0][2]
    scan, subject, how = stage.scan(actor, seq=seq, at=now_ms() - stage.chance.randrange(HOUR_MS))
    wire = stage.request(actor, [scan])
    place = first.rows[0][4]
    row = (actor.device.number, actor.number, seq, scan["at"], place, subject.hex(), scan["kind"], how)
    return Attack(name="seq: for another scan", raw=wire.raw(), rows=(row,), known=1)


def batch_signed_anew(stage: Stage) -> Attack:
    """A batch that was taken, signed anew as a retry is: each of its scans is known."""
    first = stage.taken()
    content_type = first.wire.field("content-type")
    encoding = "gzip" if any(name == "Content-Encoding" for name, _ in first.wire.fields) else None
    wire = stage.signed(
        first.actor,
        first.wire.body,
        content_type=content_type,
        encoding=encoding,
        parameters=f';nonce="{random.Random(stage.chance.random()).randbytes(8).hex()}"',
    )
    return Attack(name="batch signed anew", raw=wire.raw(), rows=first.rows, known=len(first.rows))
