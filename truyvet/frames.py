"""Arrow tables of what the client reads. Needs the extra `client`."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from truyvet.records import Stay

ZONE: Final = "Asia/Ho_Chi_Minh"
STAYS: Final = pyarrow.schema(
    [
        ("subject", pyarrow.string()),
        ("place", pyarrow.string()),
        ("start_ms", pyarrow.int64()),
        ("start", pyarrow.timestamp("ms", tz=ZONE)),
        ("end_ms", pyarrow.int64()),
        ("end", pyarrow.timestamp("ms", tz=ZONE)),
        ("entry", pyarrow.string()),
        ("exit", pyarrow.string()),
        ("scans", pyarrow.string()),
    ]
)


def table_in(archive: Path, name: str) -> Any:
    """A Parquet file of an archive as a `pyarrow.Table`."""
    with zipfile.ZipFile(archive) as files:
        return pyarrow.parquet.read_table(io.BytesIO(files.read(name)))


def stays_table(subject: str, stays: Sequence[Stay]) -> Any:
    """Stays as a `pyarrow.Table`."""
    rows = [
        {
            "subject": subject,
            "place": stay.place,
            "start_ms": stay.start,
            "start": stay.start,
            "end_ms": stay.end,
            "end": stay.end,
            "entry": stay.entry,
            "exit": stay.exit,
            "scans": " ".join(f"{device}/{seq}" for device, seq in stay.scans),
        }
        for stay in stays
    ]
    return pyarrow.Table.from_pylist(rows, schema=STAYS)
