"""Tables for a terminal; in a pipe they are wide enough to be cut nowhere."""

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.unseen import is_unseen

PIPE_COLUMNS: Final = 200
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def add_row(table: Table, *cells: str | None) -> None:
    """Add a row of plain text: what somebody once registered is neither markup nor a terminal's command."""
    table.add_row(*(Text(plain(cell or "")) for cell in cells))


def plain(text: str) -> str:
    """The text with a visible mark for every character that would move the cursor, colour or turn what follows."""
    return "".join(REPLACEMENT if is_unseen(char) else char for char in text)


def show(table: Table) -> None:
    """Print the table to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_COLUMNS)
    console.print(table)


def counted(count: int, one: str, many: str) -> str:
    """`1 contact`, `2 contacts`."""
    return f"{count:,} {one if count == 1 else many}"


def short(pseudonym: str) -> str:
    """Enough of a pseudonym to tell two apart on a screen."""
    return f"{pseudonym[:8]}…"
