"""`python -m loadtests.bench`: measures the service beside its baselines, and checks that nothing was lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from loadtests.bench import ack, backlog, batch, disk, memory, single, visible
from loadtests.bench.report import Result
from loadtests.bench.run import dir_option, out_option, quick_option, run_benches
from loadtests.bench.session import Session, Sizes, quick

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
@out_option
@dir_option
@quick_option
def main(
    *, names: tuple[str, ...], seconds: float, workers: int, out: Path | None, parent: Path, is_quick: bool
) -> None:
    """Run the benches of these NAMES, or all. Exits with 1 where a check failed, whatever the figures."""
    sizes = quick(workers) if is_quick else Sizes(seconds=seconds, workers=workers)
    run_benches(BENCHES, names or BENCHES, lambda say: Session(sizes, parent, say), parent=parent, out=out)


if __name__ == "__main__":
    main()
