"""A click group that imports a command only to run it, so that `--help` is quick."""

import importlib
from collections.abc import Mapping
from typing import Any, Final

import click

Table = dict[str, tuple[str, str, str]]
"""Name → (section, module:attribute, short help). An empty short help hides the command."""


class LazyGroup(click.Group):
    """A group that knows its commands by a table."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table: Final = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, in the table's order."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self._table:
            return None
        module, _, attribute = self._table[cmd_name][1].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._table[cmd_name][1]} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section after the other, from the table alone."""
        shown = {name: entry for name, entry in self._table.items() if entry[2]}
        for section in dict.fromkeys(entry[0] for entry in shown.values()):
            with formatter.section(section):
                formatter.write_dl([(name, entry[2]) for name, entry in shown.items() if entry[0] == section])
