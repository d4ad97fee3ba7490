"""Tables: what somebody registered is shown as text, whatever it holds."""

import pytest
from rich.table import Table

from app.terminal import add_row, plain, show


@pytest.mark.parametrize("name", ["[/x]", "[bold red]loud[/]", "[link=http://x]x[/link]", ":smile:", "a\\[b]"])
def test_markup_is_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", "empty")
    add_row(table, name, None)
    show(table)
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("char", ["\x1b", "\0", "\r", "\n", "\x9b", "\u202e", "\u200b", "\u2028"])
def test_nothing_reaches_the_terminal_unseen(char: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name")
    add_row(table, f"a{char}b")
    show(table)
    assert "a\ufffdb" in capsys.readouterr().out


def test_vietnamese_is_as_it_is() -> None:
    assert plain("Chợ Bến Thành, lầu 2") == "Chợ Bến Thành, lầu 2"
