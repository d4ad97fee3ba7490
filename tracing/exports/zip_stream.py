"""A ZIP archive that is written as it is read: nothing of it is kept, nothing is sought back in."""

import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import msgspec

from tracing.exports.outbox import Outbox

PIECE_BYTES: Final = 256_000
MEMBER_MODE: Final = 0o600 << 16
"""What is unpacked is the owner's alone."""
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)


class Member(msgspec.Struct, frozen=True):
    """A file in an archive. `packed`: it is compressed already."""

    name: str
    pieces: Iterable[bytes]
    packed: bool = False


def zip_pieces(members: Iterable[Member], made: datetime) -> Iterator[bytes]:
    """The archive in pieces. Each member's pieces are asked for when its turn has come. `made` is every member's date.

    Sizes follow the data, in ZIP64's fields: an archive and a member may pass 4 GB, which nobody knows beforehand.
    """
    outbox = Outbox()
    when = max(made.timetuple()[:6], _EARLIEST)
    with zipfile.ZipFile(outbox, "w", allowZip64=True) as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name, date_time=when)
            info.compress_type = zipfile.ZIP_STORED if member.packed else zipfile.ZIP_DEFLATED
            info.external_attr = MEMBER_MODE
            with archive.open(info, "w", force_zip64=True) as file:
                for piece in member.pieces:
                    file.write(piece)
                    if outbox.size >= PIECE_BYTES:
                        yield outbox.take()
    yield outbox.take()
