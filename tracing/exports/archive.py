"""An export as one download: a ZIP archive of a format's files with a manifest at its end.

The manifest comes last because hashes, counts and bad records are known last. A download that breaks off has neither
it nor the archive's directory, so that nobody takes it for whole. The same saved trace gives the same bytes again, as
long as the registries that are as of then say the same.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from events import codec
from tracing.exports.files import File
from tracing.exports.moments import iso, local
from tracing.exports.source import Problem, Source
from tracing.exports.tables import Column
from tracing.exports.zip_stream import Member, zip_pieces
from tracing.question import ResolvedQuestion

MANIFEST: Final = "manifest.json"
MANIFEST_FORM: Final = "truyvet-export/1"


class ListedFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of the archive. `counts`: rows, or nodes and edges, and the like; `columns`: the table's dictionary."""

    name: str
    media_type: str
    bytes: int
    sha256: str
    counts: dict[str, int]
    columns: tuple[Column, ...] = ()


class ListedTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A trace of the archive, with every parameter that decided it."""

    id: str
    fingerprint: str
    as_of_ms: int
    as_of: str
    question: ResolvedQuestion
    index_without_scans: int
    scans_without_place: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds, and what could not be put into it."""

    form: str
    format: str
    case: str | None
    traces: tuple[ListedTrace, ...]
    files: tuple[ListedFile, ...]
    problems: tuple[Problem, ...]
    problems_left_out: int
    notes: tuple[str, ...]


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Files of one folder (empty: the archive's root), and the trace that they are of, if they are of one."""

    folder: str
    files: tuple[File, ...]
    source: Source | None
    notes: tuple[str, ...] = ()


def archive_pieces(
    format_name: str, contents: Sequence[Content], made_at: int, case: str | None = None
) -> Iterator[bytes]:
    """The archive in pieces. `made_at` (Unix ms) dates its files. What a file's writer raises ends it unfinished."""
    return zip_pieces(_members(format_name, contents, case), local(made_at))


def _members(format_name: str, contents: Sequence[Content], case: str | None) -> Iterator[Member]:
    listed: list[ListedFile] = []
    for content in contents:
        for file in content.files:
            watched = _Watched(file, content.folder + file.name)
            yield Member(watched.name, watched.pieces(), file.packed)
            listed.append(watched.listed())
    sources = [content.source for content in contents if content.source is not None]
    manifest = Manifest(
        form=MANIFEST_FORM,
        format=format_name,
        case=case,
        traces=tuple(map(_listed_trace, sources)),
        files=tuple(listed),
        problems=tuple(problem for source in sources for problem in source.problems),
        problems_left_out=sum(source.problems_left_out for source in sources),
        notes=tuple(dict.fromkeys(note for content in contents for note in content.notes)),
    )
    yield Member(MANIFEST, [msgspec.json.format(codec.to_json(manifest), indent=1) + b"\n"])


class _Watched:
    """A file whose bytes are counted and hashed as they pass."""

    def __init__(self, file: File, name: str) -> None:
        self.name: Final = name
        self._file: Final = file
        self._counts: Final[Counter[str]] = Counter()
        self._hash: Final = hashlib.sha256()
        self._bytes = 0

    def pieces(self) -> Iterator[bytes]:
        for piece in self._file.write(self._counts):
            self._hash.update(piece)
            self._bytes += len(piece)
            yield piece

    def listed(self) -> ListedFile:
        return ListedFile(
            name=self.name,
            media_type=self._file.media_type,
            bytes=self._bytes,
            sha256=self._hash.hexdigest(),
            counts=dict(self._counts),
            columns=self._file.columns,
        )


def _listed_trace(source: Source) -> ListedTrace:
    head = source.head
    return ListedTrace(
        id=head.id,
        fingerprint=head.fingerprint,
        as_of_ms=head.cut_off.as_of,
        as_of=iso(head.cut_off.as_of),
        question=head.question,
        index_without_scans=len(head.index_without_scans),
        scans_without_place=head.scans_without_place,
    )
