"""What a run says: one JSON object a line for programs, and a table with bars for people."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from loadtests.bench.machine import Machine

BAR_COLUMNS: Final = 24

Say = Callable[[str], None]
"""Tells people how far the run is."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One bench's line. `ratio` is value ÷ baseline value; `met` whether every part of the target is, None without one.

    `figures` are the bench's own, laid beside the others in the line. `failures` are checks that did not hold: with
    any of them the figures mean nothing.
    """

    bench: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    target: str
    met: bool | None
    progress: float = 0.0
    """How far towards the target, 1 being there; for the bar."""
    figures: dict[str, Any] = {}
    failures: list[str] = []

    @property
    def ratio(self) -> float:
        """Value ÷ baseline value; 0 where there is no baseline."""
        return self.value / self.baseline_value if self.baseline_value else 0.0

    def line(self, machine: Machine, versions: dict[str, str]) -> bytes:
        """The JSON object."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("figures", "progress")}
        return msgspec.json.encode(
            fields | {"ratio": self.ratio} | self.figures | {"machine": machine, "versions": versions},
            enc_hook=float,
        )


def show(results: list[Result], console: Console) -> None:
    """The table for people."""
    table = Table(title="Benchmarks", title_justify="left")
    for heading in ("bench", "value", "baseline", "ratio", "target", "of the target", ""):
        table.add_column(heading, justify="right" if heading in ("value", "baseline", "ratio") else "left")
    for result in results:
        table.add_row(
            result.bench,
            f"{_shown(result.value)} {result.unit}",
            f"{_shown(result.baseline_value)} {result.baseline}",
            f"{result.ratio:.2f}",
            result.target,
            ""
            if result.met is None
            else ProgressBar(total=1.0, completed=min(result.progress, 1.0), width=BAR_COLUMNS),
            _verdict(result),
        )
    console.print(table)
    for result in results:
        for failure in result.failures:
            console.print(f"{result.bench}: {failure}", style="red", markup=False)


def _bar(progress: float) -> ProgressBar:
    return ProgressBar(total=1.0, completed=min(progress, 1.0), width=BAR_COLUMNS)


def _verdict(result: Result) -> str:
    if result.failures:
        return "[red]wrong[/]"
    return {True: "[green]met[/]", False: "[yellow]missed[/]", None: ""}[result.met]


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"
