"""What every run of benches has in common: where its lines and its table go, what it refuses, how it ends."""

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, TypeVar

import click
from rich.console import Console

from app.errors import Explained
from app.open_files import allow_open_files
from app.terminal import PIPE_COLUMNS
from loadtests.bench.machine import machine, mount, versions
from loadtests.bench.report import Result, Say, show
from loadtests.bench.system import RAM_FILE_SYSTEMS
from loadtests.ending import exit_when_told
from storage.valkey import ValkeyFailed

S = TypeVar("S")

out_option: Final = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Append the JSON lines to this file too."
)
dir_option: Final = click.option(
    "--dir",
    "parent",
    default=tempfile.gettempdir(),
    show_default=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the service's data lies meanwhile: on a disk, not in memory.",
)
quick_option: Final = click.option(
    "--quick", "is_quick", is_flag=True, help="Some seconds in all: shows that it works, measures nothing."
)


def run_benches(
    benches: Mapping[str, Callable[[S], Result | None]],
    names: Iterable[str],
    begin: Callable[[Say], AbstractContextManager[S]],
    *,
    parent: Path,
    out: Path | None,
) -> None:
    """Run the benches of these names in a session; `begin` makes it. A bench that cannot run here says why, and None.

    Exits with 1 where a check failed, whatever the figures.
    """
    _, file_system = mount(parent)
    if file_system in RAM_FILE_SYSTEMS:
        raise click.BadParameter(f"{parent} is in memory ({file_system}): name a directory on a disk with --dir.")
    allow_open_files()
    exit_when_told()
    console = _console()
    described, found = machine(parent), versions()
    results = []
    try:
        with begin(lambda text: console.print(f"  {text}", style="dim", markup=False)) as session:
            for name in names:
                console.print(name, style="bold")
                result = benches[name](session)
                if result is not None:
                    results.append(result)
                    _write(result.line(described, found), out)
    except (Explained, ValkeyFailed) as error:
        raise click.ClickException(str(error)) from error
    show(results, console)
    if any(result.failures for result in results):
        sys.exit(1)


def _console() -> Console:
    """Where people read, which is not where programs do; in a pipe it is wide enough to cut nothing."""
    console = Console(stderr=True, highlight=False)
    return console if console.is_terminal else Console(stderr=True, highlight=False, width=PIPE_COLUMNS)


def _write(line: bytes, out: Path | None) -> None:
    """A line to standard output at once, and to the file."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
    if out is not None:
        with out.open("ab") as file:
            file.write(line + b"\n")
