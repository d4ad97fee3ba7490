"""Tables for a terminal; in a pipe they are wide enough to be cut nowhere."""

from typing import Final

from rich.console import Console
from rich.table import Table

PIPE_COLUMNS: Final = 200


def show(table: Table) -> None:
    """Print the table to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_COLUMNS)
    console.print(table)


def counted(count: int, one: str, many: str) -> str:
    """`1 contact`, `2 contacts`."""
    return f"{count:,} {one if count == 1 else many}"
