"""`python -m loadtests.bench`: measures the service beside its baselines, and checks that nothing was lost."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from app.errors import Explained
from app.open_files import allow_open_files
from app.terminal import PIPE_COLUMNS
from loadtests.bench import ack, backlog, batch, disk, memory, single, visible
from loadtests.bench.machine import machine, mount, versions
from loadtests.bench.report import Result, show
from loadtests.bench.session import Session, Sizes, quick
from loadtests.bench.system import RAM_FILE_SYSTEMS
from loadtests.ending import exit_when_told
from storage.valkey import ValkeyFailed

BENCHES: Final[dict[str, Callable[[Session], Result]]] = {
    "ingest.batch.msgpack": batch.msgpack,
    "ingest.batch.json": batch.json,
    "ingest.single": single.run,
    "ingest.ack": ack.run,
    "ingest.visible": visible.run,
    "sink.drain": backlog.drain,
    "projections.catchup": backlog.catchup,
    "memory": memory.run,
    "disk": disk.run,
}
SECONDS_MAX: Final = 120.0
"""Requests are signed before the load begins, and the edge takes no signature that is older than 300 s."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(1.0, SECONDS_MAX))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Ingest processes.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Append the JSON lines to this file too.")
@click.option(
    "--dir",
    "parent",
    default=tempfile.gettempdir(),
    show_default=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the service's data lies meanwhile: on a disk, not in memory.",
)
@click.option("--quick", "is_quick", is_flag=True, help="Some seconds in all: shows that it works, measures nothing.")
def main(
    *, names: tuple[str, ...], seconds: float, workers: int, out: Path | None, parent: Path, is_quick: bool
) -> None:
    """Run the benches of these NAMES, or all. Exits with 1 where a check failed, whatever the figures."""
    _, file_system = mount(parent)
    if file_system in RAM_FILE_SYSTEMS:
        raise click.BadParameter(f"{parent} is in memory ({file_system}): name a directory on a disk with --dir.")
    allow_open_files()
    exit_when_told()
    console = _console()
    sizes = quick(workers) if is_quick else Sizes(seconds=seconds, workers=workers)
    described, found = machine(parent), versions()
    results = []
    try:
        with Session(sizes, parent, lambda text: console.print(f"  {text}", style="dim", markup=False)) as session:
            for name in names or BENCHES:
                console.print(name, style="bold")
                result = BENCHES[name](session)
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


if __name__ == "__main__":
    main()
