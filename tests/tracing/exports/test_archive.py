"""The archive around the files: counts, hashes, bad records, broken downloads; the same bytes every time."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from events import codec
from events.problems import EXPORTS_FULL, ProblemError
from tests.tracing.exports.samples import START, TRACE, answers, exported, known, small, source_of, spoiled
from tracing.answer import Answer
from tracing.exports.archive import archive_pieces
from tracing.exports.formats import Format, content_of
from tracing.exports.slices import Unreadable
from tracing.exports.source import saved_source
from tracing.exports.turns import Turns

ALL = pytest.mark.parametrize("format", list(Format))


@ALL
@given(saved=answers())
@settings(max_examples=5)
def test_the_manifest_lists_every_file_as_it_is(format: Format, saved: Answer) -> None:
    files, manifest = exported(source_of(saved), format)
    assert {listed["name"] for listed in manifest["files"]} == set(files)
    for listed in manifest["files"]:
        data = files[listed["name"]]
        assert (listed["bytes"], listed["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    (trace,) = manifest["traces"]
    assert (trace["id"], trace["fingerprint"], trace["as_of_ms"]) == (TRACE, "0f" * 32, saved.cut_off.as_of)
    assert trace["question"] == json.loads(codec.to_json(saved.question))
    assert manifest["format"] == format
    assert not manifest["problems"]


@ALL
def test_a_bad_record_is_reported_and_the_rest_comes(format: Format) -> None:
    _, whole = exported(source_of(small()), format)
    _, manifest = exported(source_of(spoiled(small(), 1, last=-1)), format)
    (problem,) = manifest["problems"]
    assert problem == {"trace": TRACE, "contact": 2, "reason": "the times contradict each other"}
    assert [file["name"] for file in manifest["files"]] == [file["name"] for file in whole["files"]]


@ALL
def test_the_same_trace_gives_the_same_bytes(format: Format) -> None:
    def archive(piece: int) -> bytes:
        source = source_of(small(), known(market="Chợ"), piece)
        return b"".join(archive_pieces(format, [content_of(format, source)], START))

    assert archive(50) == archive(1_000_000)


def test_several_traces_get_a_folder_each() -> None:
    contents = [content_of(Format.CSV, source_of(small()), f"{folder}/") for folder in ("a", "b")]
    data = b"".join(archive_pieces(Format.CSV, contents, START))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
    assert names[-1] == "manifest.json"
    assert sorted(names[:-1]) == [
        f"{folder}/{name}.csv" for folder in "ab" for name in ("contacts", "linelist", "question")
    ]


def test_an_answer_that_breaks_off_leaves_no_archive() -> None:
    text = codec.to_json(small())

    def pieces() -> Iterator[bytes]:
        yield text[:-400]

    source = saved_source(pieces, known())
    come: list[bytes] = []
    with pytest.raises(Unreadable):
        come.extend(archive_pieces(Format.CSV, [content_of(Format.CSV, source)], START))
    assert not zipfile.is_zipfile(io.BytesIO(b"".join(come)))


def test_turns_are_counted_and_come_back_whatever_happens() -> None:
    turns = Turns(2)
    first, second = turns.take(), turns.take()
    with pytest.raises(ProblemError) as refused:
        turns.take()
    assert refused.value.problem == EXPORTS_FULL.problem()
    first.end()
    first.end()
    third = turns.take()
    with pytest.raises(ProblemError):
        turns.take()
    del second, third
    assert [turns.take() for _ in range(2)]
