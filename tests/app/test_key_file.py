import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.key_file import KeyFileError, load, load_or_create, rotate
from app.key_watch import KeyWatch

NOW = 1_634_800_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


def test_a_first_run_makes_the_file_for_its_owner_alone(path: Path) -> None:
    made = load_or_create(path, data_exists=False, now_ms=NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path) == made
    assert list(path.parent.iterdir()) == [path]


def test_the_mask_of_the_process_does_not_widen_it(path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create(path, data_exists=False, now_ms=NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_run_reads_the_same(path: Path) -> None:
    made = load_or_create(path, data_exists=False, now_ms=NOW)
    assert load_or_create(path, data_exists=True, now_ms=NOW + 1) == made


def test_first_runs_at_once_agree(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: load_or_create(path, data_exists=False, now_ms=NOW + n), range(16)))
    assert all(one == made[0] for one in made)
    assert list(path.parent.iterdir()) == [path]


def test_missing_beside_data_is_refused(path: Path) -> None:
    with pytest.raises(KeyFileError, match="backup"):
        load_or_create(path, data_exists=True, now_ms=NOW)
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_wider_permissions_are_refused(path: Path, mode: int) -> None:
    load_or_create(path, data_exists=False, now_ms=NOW)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load(path)


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b"\xff\xfe"])
def test_a_damaged_file_is_refused_and_kept(path: Path, data: bytes) -> None:
    load_or_create(path, data_exists=False, now_ms=NOW)
    path.write_bytes(data)
    with pytest.raises(KeyFileError, match="backup"):
        load_or_create(path, data_exists=False, now_ms=NOW)
    assert path.read_bytes() == data


def test_a_damaged_file_is_not_quoted(path: Path) -> None:
    load_or_create(path, data_exists=False, now_ms=NOW)
    text = path.read_text()
    path.write_text(text.replace('"version": 1', '"version": true'))
    with pytest.raises(KeyFileError) as caught:
        load(path)
    assert text.split('"pseudonym_key": "')[1][:20] not in str(caught.value)


def test_a_symbolic_link_is_refused(path: Path) -> None:
    load_or_create(path, data_exists=False, now_ms=NOW)
    link = path.with_name("link.json")
    link.symlink_to(path)
    with pytest.raises(KeyFileError):
        load_or_create(link, data_exists=False, now_ms=NOW)


def test_rotation_keeps_what_was_and_the_mode(path: Path) -> None:
    before = load_or_create(path, data_exists=False, now_ms=NOW)
    after = rotate(path, NOW + 1)
    assert after.generations[:-1] == before.generations
    assert after.pseudonym_key == before.pseudonym_key
    assert load(path) == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_rotations_at_once_lose_no_generation(path: Path) -> None:
    load_or_create(path, data_exists=False, now_ms=NOW)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: rotate(path, NOW + n), range(12)))
    assert [one.kid for one in load(path).generations] == list(range(1, 14))


def test_rotating_nothing_says_so(path: Path) -> None:
    with pytest.raises(KeyFileError, match="no key file"):
        rotate(path, NOW)


def test_a_rotation_is_noticed_once(path: Path) -> None:
    load_or_create(path, data_exists=False, now_ms=NOW)
    watch = KeyWatch(path)
    assert watch.fresh() is None
    after = rotate(path, NOW + 1)
    assert watch.fresh() == after
    assert watch.fresh() is None
