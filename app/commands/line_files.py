"""What is said of CSV files that people import: their data dictionary, and which lines were wrong."""

from collections.abc import Iterable

import click
from rich.table import Table

from app.terminal import add_row, show
from tracing.line_files import Column, RowError


def tell_columns(dictionary: Iterable[Column]) -> None:
    """Print the data dictionary of a file."""
    table = Table("column", "needed", "what stands in it", "for example")
    for column in dictionary:
        add_row(table, column.name, "yes" if column.required else "", column.text, column.example)
    show(table)
    click.echo("The file is CSV in UTF-8, its first line names the columns in any order.")


def tell_wrong(errors: Iterable[RowError]) -> None:
    """Say which lines were wrong, and why, on standard error."""
    for error in errors:
        where = f"line {error.line}" + (f", column {error.column}" if error.column else "")
        click.echo(f"{where}: {error.reason}", err=True)
