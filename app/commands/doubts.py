"""`truyvet doubts`."""

from collections.abc import Iterable
from typing import Final

import click
from rich.table import Table

from app.client import api_client
from app.clock import shown
from app.commands.options import PURPOSE, TIME
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.doubt_reading import DoubtfulScan
from tracing.doubts import Reason
from tracing.routes.doubts import EVERY_REASON, TraceDoubtsRequest

SHOWN_MAX: Final = 1_000
"""So many are printed; --json prints them all."""


@click.command()
@click.option("--trace", metavar="ID", help="Those that this saved trace rests on.")
@click.option("--device", metavar="ID", help="Or those that this device made, from --from to --to.")
@click.option("--from", "from_ms", type=TIME, default="1d", show_default=True, help="Of a device: from when on.")
@click.option("--to", "to_ms", type=TIME, default="now", show_default=True, help="Of a device: up to when.")
@click.option("--reason", type=click.Choice([reason.value for reason in Reason]), help="For this reason alone.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON, a page a line.")
@PURPOSE
@click.pass_obj
def doubts(
    settings: Settings,
    *,
    trace: str | None,
    device: str | None,
    from_ms: int,
    to_ms: int,
    reason: str | None,
    as_json: bool,
    purpose: str,
) -> None:
    """List scans that may not be what they say, with the reason and the figure behind it. Nothing is changed.

    `truyvet trace --leave-out-doubtful REASON` asks without them.

    \b
    Example:
      truyvet doubts --trace 8b6f1c0a5d2e4f73a1b09c8d7e6f5a4b --purpose "checking the cluster at the market"
      truyvet doubts --device gate-1 --from 2d --reason burst --purpose "gate 1 counts too many"
    """
    if (trace is None) == (device is None):
        raise click.UsageError("Give --trace or --device.")
    client = api_client(settings)
    if trace is not None:
        reasons = EVERY_REASON if reason is None else (Reason(reason),)
        found = client.trace_doubts(trace, TraceDoubtsRequest(reasons=reasons, purpose=purpose))
        if as_json:
            click.echo(codec.to_json(found))
            return
        _tell(found.scans, found.by_reason, f"of {counted(found.evidence, 'scan', 'scans')} that the trace rests on")
        return
    query = {"device": str(device), "from": str(from_ms), "to": str(to_ms)} | ({"reason": reason} if reason else {})
    scans: list[DoubtfulScan] = []
    for page in client.doubts(query, purpose):
        if as_json:
            click.echo(codec.to_json(page))
            continue
        scans += page.items
        if page.next is None or len(scans) >= SHOWN_MAX:
            _tell(scans, page.by_reason, f"of {counted(page.scans, 'scan', 'scans')} of {page.device}")
            return


def _tell(scans: Iterable[DoubtfulScan], by_reason: dict[Reason, int], of: str) -> None:
    found = list(scans)
    table = Table("scan", "at", "place", "subject", "reason", "figure", "limit", "against")
    for one in found[:SHOWN_MAX]:
        against = " ".join(map(str, one.other)) if one.other is not None else ""
        add_row(
            table,
            f"{one.device} {one.seq}",
            shown(one.at),
            one.place,
            one.subject,
            one.reason.value,
            f"{one.figure:g} {one.unit.value}",
            f"{one.limit:g}",
            against,
        )
    show(table)
    counts = ", ".join(f"{reason.value} {count:,}" for reason, count in by_reason.items())
    click.echo(f"Doubtful {of}: {counts or 'none'}.", err=True)
    if len(found) > SHOWN_MAX:
        click.echo(f"The first {SHOWN_MAX:,} are shown; --json has them all.", err=True)
