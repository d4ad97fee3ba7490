"""`truyvet gaps`."""

from typing import Final

import click
from rich.table import Table

from app.client import ApiClient, api_client
from app.clock import shown
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.routes.gaps import Conflict, DeviceGaps

SHOWN_MAX: Final = 1_000
"""Devices, or runs and conflicts of one device, that are printed; --json prints them all."""


@click.command()
@click.argument("device", required=False)
@click.option("--conflicts", "conflicts_only", is_flag=True, help="Only the seqs that came with other content.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.pass_obj
def gaps(settings: Settings, *, device: str | None, conflicts_only: bool, as_json: bool) -> None:
    """List the scans that are missing in the log, of all devices or run by run of one DEVICE.

    Every device counts its scans from 1. A number below the highest that came, which came neither accepted nor
    refused, is missing: never sent, or lost on the way. The device can ask for its own (`truyvet scan` does so by
    itself) and send exactly those again. A number that came with another time, place, person or kind is a conflict:
    all its deliveries are kept, and the first counts.

    \b
    Example:
      truyvet gaps
      truyvet gaps gate-1
    """
    client = api_client(settings)
    if device is None:
        _list(client, conflicts_only=conflicts_only, as_json=as_json)
        return
    found = client.device_gaps(device, items_max=None if as_json else SHOWN_MAX)
    if as_json:
        click.echo(codec.to_json(found))
        return
    if not conflicts_only:
        _tell_gaps(found)
    _tell_conflicts(found.conflicts, found.conflicting)
    if found.next is not None:
        click.echo(f"The first {SHOWN_MAX:,} are shown; --json has them all.", err=True)


def _list(client: ApiClient, *, conflicts_only: bool, as_json: bool) -> None:
    found = client.gaps(items_max=None if as_json else SHOWN_MAX)
    if as_json:
        click.echo(codec.to_json(found))
        return
    table = Table("device", "place", "missing", "runs", "open since", "next", "seen to", "conflicts")
    for one in found.items:
        if conflicts_only and not one.conflicts:
            continue
        since = shown(one.since) if one.since is not None else ""
        numbers = (f"{number:,}" for number in (one.missing, one.runs))
        add_row(
            table,
            one.device,
            one.place or "",
            *numbers,
            since,
            f"{one.next_seq:,}",
            f"{one.seen_to:,}",
            f"{one.conflicts:,}",
        )
    show(table)
    click.echo(
        f"{counted(found.devices, 'device', 'devices')}, {found.missing:,} missing and {found.conflicts:,} conflicting,"
        f" as of {shown(found.as_of)}.",
        err=True,
    )
    if found.next is not None:
        click.echo(f"The {SHOWN_MAX:,} with most are shown; --json has them all.", err=True)


def _tell_gaps(found: DeviceGaps) -> None:
    table = Table("from", "to", "scans", "known since")
    for gap in found.gaps:
        since = shown(gap.since) if gap.since is not None else "acknowledged, never in the log"
        add_row(table, f"{gap.first}", f"{gap.last}", f"{gap.last - gap.first + 1:,}", since)
    show(table)
    click.echo(
        f"{found.missing:,} of {found.seen_to:,} missing in {counted(found.runs, 'run', 'runs')}, as of"
        f" {shown(found.as_of)}.",
        err=True,
    )


def _tell_conflicts(conflicts: list[Conflict], count: int) -> None:
    if conflicts:
        table = Table("seq", "received", "at", "kind", "place", "differs in")
        for conflict in conflicts:
            for each in conflict.deliveries:
                first = each is conflict.deliveries[0]
                differs = "counts" if first else ", ".join(conflict.differs)
                add_row(table, f"{conflict.seq}", shown(each.received), shown(each.at), each.kind, each.place, differs)
        show(table)
    click.echo(f"{counted(count, 'seq', 'seqs')} came with other content.", err=True)
