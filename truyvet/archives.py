"""An export's archive: fetched as it is written, then checked against its manifest, file by file."""

import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from events import codec
from truyvet.errors import WrongAnswer

MANIFEST: Final = "manifest.json"
READ_BYTES: Final = 1_000_000
PRIVATE: Final = 0o600


class ArchivedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an archive, with what is in it: rows, or nodes and edges."""

    name: str
    media_type: str
    bytes: int
    sha256: str
    counts: dict[str, int]


class ArchivedTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A trace that the archive is of."""

    id: str
    fingerprint: str
    as_of_ms: int


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be exported: the trace, its place among the contacts (from 1), and why."""

    trace: str
    contact: int
    reason: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says of itself, as far as it is needed here; docs/exports.md tells the rest."""

    form: str
    format: str
    case: str | None
    traces: tuple[ArchivedTrace, ...]
    files: tuple[ArchivedFile, ...]
    problems: tuple[LeftOut, ...]
    problems_left_out: int
    notes: tuple[str, ...]


def save(pieces: Iterable[bytes], path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> Manifest:
    """Write an archive to a file that is the owner's alone, whole and checked or not at all. Raises `WrongAnswer`.

    An existing file is not overwritten (`FileExistsError`). `on_bytes` is told how many bytes have come.
    """
    if path.exists():
        raise FileExistsError(17, "It exists already", str(path))
    # A name of its own, mode 0600: neither a link nor a file that somebody laid there before is written to.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        come = 0
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
                come += len(piece)
                on_bytes(come)
        manifest = verified(part)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def verified(path: Path) -> Manifest:
    """The manifest of an archive whose files are those that it lists, and as it says. Raises `WrongAnswer`."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = codec.from_json(archive.read(MANIFEST), Manifest)
            if sorted(archive.namelist()) != sorted([*(listed.name for listed in manifest.files), MANIFEST]):
                raise WrongAnswer("The archive holds other files than its manifest lists")
            for listed in manifest.files:
                if _digest(archive, listed.name) != listed.sha256:
                    raise WrongAnswer(f"{listed.name} is not as the manifest says")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, EOFError, msgspec.MsgspecError) as error:
        raise WrongAnswer(f"This is no whole export ({type(error).__name__})") from None
    return manifest


def unpack(path: Path, folder: Path) -> None:
    """Lay a verified archive's files into a folder that is empty or not there yet; each is the owner's alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise WrongAnswer("A file of the archive points out of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
            with archive.open(name) as packed, os.fdopen(handle, "wb") as file:
                while piece := packed.read(READ_BYTES):
                    file.write(piece)


def _digest(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()
