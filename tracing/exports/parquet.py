"""Parquet: typed columns, compressed, in groups of rows."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from tracing.exports.moments import ZONE_NAME
from tracing.exports.outbox import Outbox
from tracing.exports.tables import Kind, Row, Table

ROWS_A_GROUP: Final = 20_000
TYPES: Final[dict[Kind, tuple[tuple[str, pyarrow.DataType], ...]]] = {
    Kind.TEXT: (("", pyarrow.string()),),
    Kind.INTEGER: (("", pyarrow.int64()),),
    Kind.NUMBER: (("", pyarrow.float64()),),
    Kind.TIME: (("_ms", pyarrow.int64()), ("", pyarrow.timestamp("ms", tz=ZONE_NAME))),
}
"""For each kind of column the columns that it becomes: the name's suffix and the type."""


def parquet_pieces(table: Table) -> Iterator[bytes]:
    """The file, a group of rows at a time; the meanings of the columns are their metadata (`meaning`)."""
    fields = [
        pyarrow.field(column.name + suffix, kind, metadata={"meaning": column.meaning})
        for column in table.columns
        for suffix, kind in TYPES[column.kind]
    ]
    schema = pyarrow.schema(fields)
    outbox = Outbox()
    with pyarrow.parquet.ParquetWriter(pyarrow.PythonFile(outbox, mode="w"), schema, compression="zstd") as writer:
        rows = table.rows()
        while group := list(islice(rows, ROWS_A_GROUP)):
            writer.write_table(_group(table, group, schema))
            yield outbox.take()
    yield outbox.take()


def _group(table: Table, rows: list[Row], schema: Any) -> Any:
    values = zip(*rows, strict=True)
    arrays = []
    for column, each in zip(table.columns, values, strict=True):
        arrays += [pyarrow.array(each, type=kind) for _, kind in TYPES[column.kind]]
    return pyarrow.Table.from_arrays(arrays, schema=schema)
