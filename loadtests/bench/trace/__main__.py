"""`python -m loadtests.bench.trace`: measures traces over scans of a whole country, and holds each answer against the
truth."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from loadtests.bench.report import Result
from loadtests.bench.run import dir_option, out_option, quick_option, run_benches
from loadtests.bench.trace import chain, compared, growth, many, one, read, rebuild, under_load
from loadtests.bench.trace.session import Session, quick, sizes_of

BENCHES: Final[dict[str, Callable[[Session], Result | None]]] = {
    "trace.one": one.run,
    "trace.growth": growth.run,
    "trace.many": many.run,
    "trace.chain": chain.run,
    "trace.read": read.run,
    "trace.under_load": under_load.run,
    "rebuild": rebuild.run,
    "postgres.btree.one": compared.one_by_btree,
    "postgres.btree.many": compared.many_by_btree,
    "postgres.gist.one": compared.one_by_gist,
    "postgres.gist.many": compared.many_by_gist,
    "postgres.load": compared.load,
    "postgres.disk": compared.disk,
}
ROWS_MIN: Final = 20_000
ROWS_MAX: Final = 1_000_000_000


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
@click.option(
    "--rows",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(ROWS_MIN, ROWS_MAX),
    help="So many stays; people and places are as many as go with them.",
)
@out_option
@dir_option
@quick_option
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the filled service in this directory, and use the one that an earlier run has kept there.",
)
def main(
    *, names: tuple[str, ...], rows: int, out: Path | None, parent: Path, is_quick: bool, keep: Path | None
) -> None:
    """Run the benches of these NAMES, or all. Exits with 1 where a check failed, whatever the figures."""
    sizes = quick() if is_quick else sizes_of(rows)
    run_benches(BENCHES, names or BENCHES, lambda say: Session(sizes, parent, say, keep), parent=parent, out=out)


if __name__ == "__main__":
    main()
