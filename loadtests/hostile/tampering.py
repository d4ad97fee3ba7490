"""Good requests changed on their way, sent again, or put together from parts of several: outsiders' attacks."""

import base64
import random
import re
from collections.abc import Callable
from typing import Final

import msgspec

from app.clock import now_ms
from loadtests.hostile.attack import NEVER_SEQS_FROM, Attack, Signed, Stage
from loadtests.hostile.signing import JSON, MSGPACK, digest, signed
from loadtests.hostile.wire import Wire

Maker = Callable[[Stage], Attack]

INVALID: Final = frozenset({"signature-invalid"})
MALFORMED: Final = frozenset({"signature-malformed"})
UNREADABLE: Final = frozenset({"request-malformed", "head-too-large"})
NOT_SIGNED: Final = INVALID | MALFORMED | {"digest-mismatch", "key-unknown", "signature-missing"}
NOT_COVERED: Final = NOT_SIGNED | {"signature-incomplete", "signature-stale", "key-revoked"}
ELSEWHERE: Final = frozenset({"not-found", "method-not-allowed"})
COVERED: Final = frozenset({"content-type", "content-digest", "content-encoding", "signature-input", "signature"})
OTHER_KEYIDS: Final = ("", ".", "1", "hall", "hall.1.1", "HALL.1", "hall.0", "hall.65536", "../hall.1", "hall .1")
STALE_SECONDS: Final = (-100_000_000, -86_400, -330, 90, 86_400, 100_000_000)
"""How far `created` is off: beyond 300 s behind and 60 s ahead, with some room for the campaign's own slowness."""
SMALL_ORDER: Final = bytes([1]) + bytes(31)
"""The neutral element: with it as R and 0 as S a sloppy verifier accepts anything."""
GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


def makers() -> tuple[Maker, ...]:
    """Every attack of this module."""
    return (
        body_bit,
        body_cut,
        body_longer,
        body_of_another,
        body_of_another_with_its_digest,
        digest_altered,
        digest_of_another_kind,
        signature_bit,
        signature_of_another,
        signature_forged,
        signature_malleated,
        parameters_altered,
        created_moved,
        keyid_of_another,
        keyid_unknown,
        component_left_out,
        component_names,
        field_left_out,
        field_doubled,
        field_altered,
        labels_differ,
        method_altered,
        target_altered,
        query_added,
        encoding_added,
        two_signatures,
        covered_byte,
        lengths_differ,
        replay,
        replay_in_other_clothes,
        late_replay,
        harmless_clothes,
    )


def _attack(stage: Stage, name: str, wire: Wire, problems: frozenset[str]) -> Attack:
    return Attack(name=name, raw=wire.raw(), problems=problems)


def _flipped(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def _signature(wire: Wire) -> bytes:
    return base64.b64decode(wire.field("signature")[5:-1])


def _with_signature(wire: Wire, signature: bytes) -> Wire:
    return wire.with_field("signature", f"sig=:{base64.b64encode(signature).decode()}:")


def _with_input(wire: Wire, old: str, new: str) -> Wire:
    text = wire.field("signature-input")
    assert old in text, old
    return wire.with_field("signature-input", text.replace(old, new, 1))


def _keyid(wire: Wire) -> str:
    found = re.search(r'keyid="([^"]*)"', wire.field("signature-input"))
    assert found is not None
    return found[1]


def body_bit(stage: Stage) -> Attack:
    """One bit of the body is another."""
    wire = stage.victim().wire
    return _attack(
        stage, "body: one bit", wire.with_body(_flipped(wire.body, stage.chance)), frozenset({"digest-mismatch"})
    )


def body_cut(stage: Stage) -> Attack:
    """The end of the body is missing, and its length agrees."""
    wire = stage.victim().wire
    body = wire.body[: stage.chance.randrange(len(wire.body))]
    return _attack(stage, "body: cut", wire.with_body(body), frozenset({"digest-mismatch"}))


def body_longer(stage: Stage) -> Attack:
    """Something follows the body."""
    wire = stage.victim().wire
    body = wire.body + stage.chance.choice((b"\n", b" ", b"\0", wire.body))
    return _attack(stage, "body: longer", wire.with_body(body), frozenset({"digest-mismatch"}))


def body_of_another(stage: Stage) -> Attack:
    """Another request's body under this one's headers."""
    wire = stage.victim().wire.with_body(stage.victim().wire.body)
    return _attack(stage, "body: another's", wire, frozenset({"digest-mismatch"}))


def body_of_another_with_its_digest(stage: Stage) -> Attack:
    """Another device's body and its digest under this one's signature."""
    body = stage.victim().wire.body
    wire = stage.victim().wire.with_body(body).with_field("content-digest", digest(body))
    return _attack(stage, "body: another's, with its digest", wire, INVALID)


def digest_altered(stage: Stage) -> Attack:
    """One character of the digest is another."""
    wire = stage.victim().wire
    text = wire.field("content-digest")
    altered = _flipped(base64.b64decode(text[9:-1]), stage.chance)
    wire = wire.with_field("content-digest", f"sha-256=:{base64.b64encode(altered).decode()}:")
    return _attack(stage, "digest: altered", wire, frozenset({"digest-mismatch"}))


def digest_of_another_kind(stage: Stage) -> Attack:
    """Another algorithm, a weak one, none, or the same bytes spelt otherwise."""
    wire = stage.victim().wire
    own = wire.field("content-digest")
    value = stage.chance.choice(
        ("md5=:1B2M2Y8AsgTpgAmY7PhCfg==:", "sha-256=::", own[:-2] + ":", own.replace("=:", "=: "), own.upper(), "", "=")
    )
    return _attack(
        stage, "digest: another kind", wire.with_field("content-digest", value), MALFORMED | {"digest-mismatch"}
    )


def signature_bit(stage: Stage) -> Attack:
    """One bit of the signature is another."""
    wire = stage.victim().wire
    return _attack(
        stage, "signature: one bit", _with_signature(wire, _flipped(_signature(wire), stage.chance)), INVALID
    )


def signature_of_another(stage: Stage) -> Attack:
    """Another good request's signature, of the same device or of another."""
    wire, other = stage.victim().wire, stage.victim().wire
    return _attack(stage, "signature: another's", wire.with_field("signature", other.field("signature")), INVALID)


def signature_forged(stage: Stage) -> Attack:
    """Signatures that need no key where a verifier is sloppy."""
    forged = stage.chance.choice(
        (bytes(64), b"\xff" * 64, SMALL_ORDER + bytes(32), stage.chance.randbytes(64), bytes(63), bytes(65), b"")
    )
    return _attack(stage, "signature: forged", _with_signature(stage.victim().wire, forged), INVALID | MALFORMED)


def signature_malleated(stage: Stage) -> Attack:
    """The same signature with the group's order added to S, which RFC 8032 forbids, of a request taken before."""
    wire = stage.taken().wire
    signature = _signature(wire)
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    wire = _with_signature(wire, signature[:32] + s.to_bytes(32, "little"))
    return _attack(stage, "signature: malleated", wire, INVALID)


def parameters_altered(stage: Stage) -> Attack:
    """A parameter of the signature is added or says something else."""
    wire = stage.victim().wire
    created = re.search(r"created=\d+", wire.field("signature-input"))
    assert created is not None
    old, new = stage.chance.choice(
        (
            (';alg="ed25519"', ""),
            (';alg="ed25519"', ';alg="hmac-sha256"'),
            (';alg="ed25519"', ';alg="rsa-v1_5-sha256"'),
            (';alg="ed25519"', ';alg="none"'),
            (';alg="ed25519"', ';alg="ED25519"'),
            (';alg="ed25519"', f';alg="ed25519";expires={now_ms() // 1000 + 60}'),
            (';alg="ed25519"', ';alg="ed25519";nonce="n"'),
            (';alg="ed25519"', ';alg="ed25519";tag="t"'),
            (';alg="ed25519"', ';alg="ed25519";created=1'),
            (';alg="ed25519"', ';alg="ed25519";unheard=1'),
            (created[0], f"{created[0]}.0"),
            (created[0], created[0].replace("=", "=-")),
            (created[0], created[0].replace("=", "=0")),
            (created[0], "created=" + "9" * 400),
            (created[0], f'created="{created[0][8:]}"'),
            (f";{created[0]}", ""),
            (";keyid=", ";KEYID="),
            (";keyid=", ";  keyid="),
        )
    )
    return _attack(stage, "parameters: altered", _with_input(wire, old, new), INVALID | MALFORMED)


def created_moved(stage: Stage) -> Attack:
    """`created` is another second within what is fresh: the signature no longer holds."""
    wire = stage.victim().wire
    found = re.search(r"created=(\d+)", wire.field("signature-input"))
    assert found is not None
    moved = int(found[1]) + stage.chance.choice((-60, -1, 1, 20))
    return _attack(stage, "created: moved", _with_input(wire, found[0], f"created={moved}"), INVALID)


def keyid_of_another(stage: Stage) -> Attack:
    """One device's signature under another's name."""
    request = stage.victim()
    other = stage.chance.choice([actor for actor in stage.cast.honest if actor is not request.actor])
    wire = _with_input(request.wire, request.actor.keyid, other.keyid)
    return _attack(stage, "keyid: another's", wire, INVALID)


def keyid_unknown(stage: Stage) -> Attack:
    """A name that no device has."""
    wire = stage.victim().wire
    wire = _with_input(wire, _keyid(wire), stage.chance.choice(OTHER_KEYIDS))
    return _attack(stage, "keyid: unknown", wire, frozenset({"key-unknown"}))


def component_left_out(stage: Stage) -> Attack:
    """A component is taken off the list; what it named may then be altered."""
    wire = stage.victim().wire
    names = re.findall(r'"([^"]+)"(?=[ )])', wire.field("signature-input"))
    name = stage.chance.choice(names)
    old = f'"{name}" ' if f'"{name}" ' in wire.field("signature-input") else f' "{name}"'
    return _attack(stage, "components: one less", _with_input(wire, old, ""), frozenset({"signature-incomplete"}))


def component_names(stage: Stage) -> Attack:
    """The list of components in other spellings, orders and with what is not in the request."""
    wire = stage.victim().wire
    old, new = stage.chance.choice(
        (
            ('"@method" "@path"', '"@path" "@method"'),
            ('"@method"', '"@method" "@method"'),
            ('"@method"', '"@Method"'),
            ('"@method"', '"@method";req'),
            ('"@path"', '"@target-uri"'),
            ('"@path"', '"@path" "@query-param";name="a"'),
            ('"content-type"', '"content-type";sf'),
            ('"content-type"', '"content-type";bs'),
            ('"content-digest"', '"content-digest";tr'),
            ('"@path"', '"@path" "@authority"'),
            ('"@path"', '"@path" "x-absent"'),
            ('"@path"', '"@path" "signature"'),
            ('"@method" ', '"@method"  '),
        )
    )
    return _attack(
        stage, "components: names", _with_input(wire, old, new), INVALID | MALFORMED | {"signature-incomplete"}
    )


def field_left_out(stage: Stage) -> Attack:
    """A header that is signed, or that signs, is missing."""
    wire = stage.victim().wire
    name = stage.chance.choice([name for name, _ in wire.fields if name.lower() in COVERED])
    problems = MALFORMED | {"signature-missing", "signature-incomplete"}
    return _attack(stage, "fields: one less", wire.with_field(name.lower(), None), problems)


def field_doubled(stage: Stage) -> Attack:
    """A header that is signed, or that signs, is there twice: the same, or another's, before or behind."""
    wire, other = stage.victim().wire, stage.victim().wire
    name = stage.chance.choice([name for name, _ in wire.fields if name.lower() in COVERED])
    theirs = next(value for each, value in (*other.fields, *wire.fields) if each == name)
    extra = (name, theirs if stage.chance.random() < 0.5 else wire.field(name.lower()))
    fields = (extra, *wire.fields) if stage.chance.random() < 0.5 else (*wire.fields, extra)
    wire = msgspec.structs.replace(wire, fields=fields)
    return _attack(stage, "fields: doubled", wire, NOT_COVERED)


def field_altered(stage: Stage) -> Attack:
    """The body's type is said to be another."""
    wire = stage.victim().wire
    other = JSON if wire.field("content-type") == MSGPACK else MSGPACK
    value = stage.chance.choice((other, wire.field("content-type") + ";charset=utf-8", "text/plain", "\xe1", "\x0b"))
    wire = wire.with_field("content-type", value)
    return Attack(name="fields: altered", raw=wire.raw(), alone=True, problems=INVALID | MALFORMED | UNREADABLE)


def labels_differ(stage: Stage) -> Attack:
    """The signature stands under another label than its parameters."""
    wire = stage.victim().wire
    name = stage.chance.choice(("signature", "signature-input"))
    wire = wire.with_field(name, stage.chance.choice(("other", "*", "s", "sig1")) + wire.field(name)[3:])
    return _attack(stage, "labels differ", wire, MALFORMED)


def method_altered(stage: Stage) -> Attack:
    """Another method than the one that was signed."""
    wire = stage.victim().wire
    method = stage.chance.choice(("PUT", "PATCH", "DELETE", "GET", "OPTIONS", "PROPFIND"))
    return _attack(stage, "method: altered", msgspec.structs.replace(wire, method=method), ELSEWHERE)


def target_altered(stage: Stage) -> Attack:
    """Another path than the one that was signed, which a lenient router may take for the same."""
    wire = stage.victim().wire
    target = stage.chance.choice(
        (
            "/v1/scans/",
            "//v1/scans",
            "/v1//scans",
            "/v1/./scans",
            "/v1/x/../scans",
            "/v1/%73cans",
            "/v1/scans;a",
            "/V1/scans",
            "/v1/scans%00",
            "/",
        )
    )
    return _attack(stage, "target: altered", msgspec.structs.replace(wire, target=target), ELSEWHERE | INVALID)


def query_added(stage: Stage) -> Attack:
    """A query that nobody signed."""
    wire = stage.victim().wire
    wire = msgspec.structs.replace(wire, target=wire.target + stage.chance.choice(("?a=1", "?seq=1#x", "??")))
    return _attack(stage, "target: query added", wire, frozenset({"signature-incomplete"}))


def encoding_added(stage: Stage) -> Attack:
    """An encoding that nobody signed: the same bytes would mean something else."""
    wire = stage.victim().wire.with_field("content-encoding", stage.chance.choice(("zstd", "br", "gzip, gzip", "x")))
    return _attack(stage, "fields: encoding added", wire, INVALID | {"signature-incomplete"})


def two_signatures(stage: Stage) -> Attack:
    """A stranger's good signature beside the device's."""
    wire = stage.victim().wire
    stranger = stage.cast.stranger
    other = signed(stranger.key, stranger.keyid, wire.body, created=now_ms() // 1000)
    for name in ("signature", "signature-input"):
        wire = wire.with_field(name, f"{wire.field(name)}, b{other.field(name)[3:]}")
    return _attack(stage, "two signatures", wire, MALFORMED)


def covered_byte(stage: Stage) -> Attack:
    """Any one bit of what the signature covers or is, in the bytes on the wire."""
    wire = stage.victim().wire
    name, value = stage.chance.choice([field for field in wire.fields if field[0].lower() in COVERED])
    altered = _flipped(value.encode("latin-1"), stage.chance).decode("latin-1")
    wire = wire.with_field(name.lower(), altered)
    return Attack(name="one bit of the head", raw=wire.raw(), alone=True, problems=NOT_COVERED | UNREADABLE)


def lengths_differ(stage: Stage) -> Attack:
    """Two accounts of where the body ends, or one that is no number: what smuggling is made of."""
    wire = stage.victim().wire
    length = str(len(wire.body))
    chunked = ("Transfer-Encoding", "chunked")
    extra = stage.chance.choice(
        (
            (("Content-Length", length), ("Content-Length", "0")),
            (("Content-Length", length), chunked),
            (chunked, ("Content-Length", length)),
            (("Content-Length", f"+{length}"),),
            (("Content-Length", f"0x{len(wire.body):x}"),),
            (("Content-Length", f"{length}, {length}"),),
            (("Content-Length", "9" * 40),),
            (("Content-Length", "-1"),),
            (("Transfer-Encoding", "chunked, gzip"),),
            (("Transfer-Encoding", "xchunked"),),
            (("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")),
            (("Content-Length", length), ("Transfer\t-Encoding", "chunked")),
        )
    )
    wire = wire.with_field("content-length", None)
    wire = msgspec.structs.replace(wire, fields=(*wire.fields, *extra))
    return Attack(name="lengths differ", raw=wire.raw(), alone=True, problems=UNREADABLE | {"digest-mismatch"})


def replay(stage: Stage) -> Attack:
    """A request that was taken, to the byte."""
    return _replay("replay", stage.taken(), lambda wire: wire)


def replay_in_other_clothes(stage: Stage) -> Attack:
    """The same request with other headers that nobody signs."""
    return _replay("replay in other clothes", stage.taken(), lambda wire: _dressed(stage, wire))


def _replay(name: str, taken: Signed, dress: Callable[[Wire], Wire]) -> Attack:
    raw = dress(taken.wire).raw()
    return Attack(name=name, raw=raw, replay=True, rows=taken.rows, known=len(taken.rows))


def late_replay(stage: Stage) -> Attack:
    """A request that was signed too long ago, or will be."""
    actor = stage.chance.choice(stage.cast.honest)
    scan, _, _ = stage.scan(actor, seq=stage.cast.seq(actor, NEVER_SEQS_FROM))
    created = now_ms() // 1000 + stage.chance.choice(STALE_SECONDS)
    wire = stage.request(actor, [scan], created=max(created, 0))
    if stage.chance.random() < 0.3:
        wire = stage.request(actor, [scan], parameters=f";expires={now_ms() // 1000 - 1}")
    return _attack(stage, "signed at another time", wire, frozenset({"signature-stale"}))


def harmless_clothes(stage: Stage) -> Attack:
    """A good request with what HTTP lets anybody on the way change: it is good."""
    good = stage.good()
    return Attack(name="harmless changes", raw=_dressed(stage, good.wire).raw(), rows=good.rows, signed=good)


def _dressed(stage: Stage, wire: Wire) -> Wire:
    """The request with its headers in another order and case, with white space and fields that nobody covers."""
    chance = stage.chance
    fields = [
        (chance.choice((name, name.upper(), name.lower())), chance.choice((value, f" {value}", f"{value} \t")))
        for name, value in wire.fields
        if name.lower() not in {"host", "content-length"}
    ]
    fields += [
        ("Via", "1.1 proxy"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("User-Agent", "\xe1"),
        ("Host", "other.invalid"),
    ]
    chance.shuffle(fields)
    if chance.random() < 0.5:
        return msgspec.structs.replace(wire, fields=(*fields, ("Content-Length", str(len(wire.body)))))
    middle = len(wire.body) // 2
    chunks = [wire.body[:middle], wire.body[middle:], b""]
    framed = (
        b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk) + b"0\r\nX-Trailer: t\r\n\r\n"
    )
    return msgspec.structs.replace(wire, fields=(*fields, ("Transfer-Encoding", "chunked")), body=framed)
