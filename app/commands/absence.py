"""What is said of those asked about who were not scanned in their windows, and of scans that are kept no longer."""

from collections.abc import Iterable

import click

from app.clock import shown
from tracing.answer import AnsweredIndex, CutOff


def tell_absent(index: Iterable[AnsweredIndex]) -> None:
    """Say how many were scanned nowhere in the window, and their nearest scans."""
    absent = [each for each in index if not each.stays]
    if absent:
        nearest = sorted(at for each in absent for at in (each.before, each.after) if at is not None)
        known = f"; their nearest scans: {', '.join(map(shown, nearest))}" if nearest else ""
        click.echo(f"{len(absent)} of those asked about were scanned nowhere in the window{known}.", err=True)


def tell_expired(cut_off: CutOff) -> None:
    """Say where the answer would have needed scans that are gone."""
    if cut_off.kept_from is not None:
        click.echo(f"Scans from before {shown(cut_off.kept_from)} are kept no longer: not in this answer.", err=True)
