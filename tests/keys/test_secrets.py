"""Secrets: they survive the file, rotate, and show themselves nowhere."""

import base64
import json
import traceback
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from keys.secrets import (
    KID_MAX,
    SecretsError,
    SecretsFile,
    ServerSecrets,
    new_secrets,
    rotated,
    secrets_from_bytes,
    secrets_to_bytes,
)
from tests.keys.samples import DAY_MS, NOW, ROTATED, SECRETS, counting


def test_new_secrets_are_one_generation_of_distinct_keys() -> None:
    current = SECRETS.current
    keys = {SECRETS.pseudonym_key, current.issuer_seed, current.seal_key, current.evidence_key}
    assert (len(keys), {len(key) for key in keys}) == (4, {32})
    assert (current.kid, current.created, len(SECRETS.generations)) == (1, NOW, 1)


def test_a_rotation_adds_a_generation_and_keeps_the_rest() -> None:
    assert ROTATED.generations[0] == SECRETS.current
    assert ROTATED.pseudonym_key == SECRETS.pseudonym_key
    assert (ROTATED.current.kid, ROTATED.current.created) == (2, NOW + DAY_MS)
    assert ROTATED.current.seal_key != SECRETS.current.seal_key
    assert ROTATED.generation(1) is ROTATED.generations[0]
    assert ROTATED.generation(2) is ROTATED.current
    assert ROTATED.generation(3) is None


def test_generations_end_where_kid_does() -> None:
    last = msgspec.structs.replace(SECRETS.current, kid=KID_MAX)
    with pytest.raises(SecretsError, match="65535 generations"):
        rotated(ServerSecrets(SECRETS.pseudonym_key, (last,)), counting(), NOW)


def test_issuer_public_keys_are_the_seeds_public_halves() -> None:
    """RFC 8032, section 7.1, tests 1 and 2."""
    seeds = {
        1: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        2: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    }
    generations = tuple(
        msgspec.structs.replace(SECRETS.current, kid=kid, issuer_seed=bytes.fromhex(seed))
        for kid, seed in seeds.items()
    )
    public = ServerSecrets(SECRETS.pseudonym_key, generations).issuer_public_keys()
    assert {kid: key.hex() for kid, key in public.items()} == {
        1: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        2: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    }


def test_secrets_survive_the_file() -> None:
    assert secrets_from_bytes(secrets_to_bytes(ROTATED)) == ROTATED


def test_the_file_is_versioned_json_with_base64() -> None:
    content = json.loads(secrets_to_bytes(SECRETS))
    assert content["version"] == 1
    assert base64.b64decode(content["pseudonym_key"], validate=True) == SECRETS.pseudonym_key
    assert set(content["generations"][0]) == {"kid", "created", "issuer_seed", "seal_key", "evidence_key"}


def spoiled(change: str) -> bytes:
    content: dict[str, Any] = json.loads(secrets_to_bytes(ROTATED))
    match change:
        case "version":
            content["version"] = 2
        case "short key":
            content["generations"][0]["seal_key"] = "c2hvcnQ="
        case "long key":
            content["pseudonym_key"] = base64.b64encode(bytes(33)).decode()
        case "no generation":
            content["generations"] = []
        case "kid 0":
            content["generations"][0]["kid"] = 0
        case "doubled":
            content["generations"][1]["kid"] = 1
        case "out of order":
            content["generations"].reverse()
        case "extra":
            content["surplus-secret"] = "c2VjcmV0"
        case "missing":
            del content["pseudonym_key"]
        case "no base64":
            content["pseudonym_key"] = "not base64 but secret"
        case _:
            raise AssertionError(change)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "change",
    [
        "version",
        "short key",
        "long key",
        "no generation",
        "kid 0",
        "doubled",
        "out of order",
        "extra",
        "missing",
        "no base64",
    ],
)
def test_a_spoiled_file_is_refused_with_advice_and_without_content(change: str) -> None:
    with pytest.raises(SecretsError) as raised:
        secrets_from_bytes(spoiled(change))
    shown = "".join(traceback.format_exception(raised.value))
    assert "Restore" in str(raised.value) or "Run the release" in str(raised.value)
    for secret in ('secret"', "surplus", "c2hvcnQ", base64.b64encode(ROTATED.pseudonym_key).decode()):
        assert secret not in shown


def test_the_version_is_told_from_damage() -> None:
    with pytest.raises(SecretsError, match="has version 2, this program reads version 1"):
        secrets_from_bytes(spoiled("version"))


@given(st.binary(max_size=300) | st.integers(0, 500).map(lambda cut: secrets_to_bytes(ROTATED)[:cut]))
@settings(deadline=None)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(SecretsError):
        secrets_from_bytes(data)


@pytest.mark.parametrize("show", [repr, str, pretty_repr, "{}".format, lambda value: f"{[value]!r}"])
def test_secrets_show_themselves_nowhere(show: Any) -> None:
    file = msgspec.json.decode(secrets_to_bytes(ROTATED), type=SecretsFile)
    for holder in (ROTATED, ROTATED.current, file):
        shown = show(holder)
        for generation in ROTATED.generations:
            for key in (ROTATED.pseudonym_key, generation.issuer_seed, generation.seal_key, generation.evidence_key):
                assert repr(key)[2:10] not in shown
                assert key.hex() not in shown
                assert base64.b64encode(key).decode() not in shown
        assert "<hidden>" in shown


def test_randomness_is_the_callers() -> None:
    assert new_secrets(counting("a"), NOW) == new_secrets(counting("a"), NOW)
    assert new_secrets(counting("a"), NOW) != new_secrets(counting("b"), NOW)
