import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracing.exports.samples import START, small, source_of, spoiled
from tracing.exports.archive import archive_pieces
from tracing.exports.formats import Format, content_of
from truyvet.archives import save, unpack, verified
from truyvet.errors import Unreachable, WrongAnswer


def pieces(format: Format = Format.CSV) -> Iterator[bytes]:
    return archive_pieces(format, [content_of(format, source_of(small()))], START)


def test_an_archive_is_saved_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    come: list[int] = []
    manifest = save(pieces(), tmp_path / "a.zip", come.append)
    assert [file.name for file in manifest.files] == ["linelist.csv", "contacts.csv", "question.csv"]
    assert come[-1] == (tmp_path / "a.zip").stat().st_size
    assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o600
    unpack(tmp_path / "a.zip", tmp_path / "out")
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["contacts.csv", "linelist.csv", "manifest.json", "question.csv"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    source = source_of(spoiled(small(), 2, ms=-1))
    manifest = save(archive_pieces(Format.CSV, [content_of(Format.CSV, source)], START), tmp_path / "a.zip")
    assert [(problem.contact, problem.reason) for problem in manifest.problems] == [(3, "the length is negative")]


def broken() -> Iterator[bytes]:
    yield b"".join(pieces())[:300]
    raise Unreachable("http://x", "IncompleteRead")


@pytest.mark.parametrize(
    ("come", "error"),
    [
        (broken, Unreachable),
        (lambda: iter([b"".join(pieces())[:-30]]), WrongAnswer),
        (lambda: iter([b"<html>"]), WrongAnswer),
        (lambda: iter([]), WrongAnswer),
    ],
    ids=["breaks off", "is cut", "is something else", "is nothing"],
)
def test_a_download_that_is_not_whole_leaves_nothing(tmp_path: Path, come: object, error: type[Exception]) -> None:
    assert callable(come)
    with pytest.raises(error):
        save(come(), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("mine")
    with pytest.raises(FileExistsError):
        save(pieces(), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_text() == "mine"
    save(pieces(), tmp_path / "b.zip")
    unpack(tmp_path / "b.zip", tmp_path / "out")
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "b.zip", tmp_path / "out")


def test_a_file_that_was_changed_is_found_out(tmp_path: Path) -> None:
    save(pieces(), tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, zipfile.ZipFile(tmp_path / "b.zip", "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            other.writestr(name, data.replace(b"market", b"mARKET") if name == "contacts.csv" else data)
    with pytest.raises(WrongAnswer, match=r"contacts\.csv"):
        verified(tmp_path / "b.zip")


def test_a_file_that_the_manifest_does_not_list_is_found_out(tmp_path: Path) -> None:
    save(pieces(), tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("setup.R", "x")
    with pytest.raises(WrongAnswer):
        verified(tmp_path / "a.zip")


def test_bytes_that_cannot_be_unpacked_are_a_wrong_answer(tmp_path: Path) -> None:
    data = bytearray(b"".join(pieces()))
    begin = 30 + len("linelist.csv") + 20  # behind the first file's header and its ZIP64 field
    data[begin : begin + 16] = bytes([0xFF] * 16)
    with pytest.raises(WrongAnswer):
        save(iter([bytes(data)]), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_was_laid_beside_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "a.zip.part").symlink_to(tmp_path / "victim")
    save(pieces(), tmp_path / "a.zip")
    assert (tmp_path / "victim").read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.zip", "a.zip.part", "victim"]


def test_no_file_leaves_its_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../escaped", "x")
    with pytest.raises(WrongAnswer):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "escaped").exists()
