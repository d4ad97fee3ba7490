"""What `truyvet device impact` and a dry run of `device revoke` print."""

import click
from rich.table import Table

from app.client import api_client
from app.clock import shown
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.difference import Standing
from tracing.impact import Effect, TraceImpact
from tracing.routes.impact import Impact


def tell_impact(settings: Settings, keyid: str, since: int | None, purpose: str, *, as_json: bool) -> None:
    """Ask page by page and print each. Raises `ProblemError`, `ApiDown`."""
    looked_at = changed = 0
    for page in api_client(settings).key_impact(keyid, since, purpose):
        if as_json:
            click.echo(codec.to_json(page))
            continue
        if not looked_at:
            _tell_scans(page)
        looked_at += page.looked_at
        for trace in page.traces:
            changed += trace.effect is Effect.CHANGED
            _tell_trace(trace)
    if not as_json:
        click.echo(f"{changed:,} of {counted(looked_at, 'saved trace', 'saved traces')} changed.", err=True)


def _tell_scans(page: Impact) -> None:
    scans = page.quarantined
    click.echo(
        f"{page.device}.{page.key} {'is revoked' if page.revoked else 'would be revoked'} from {shown(page.from_)} on:"
        f" {counted(scans.scans, 'scan', 'scans')} of {counted(scans.subjects, 'subject', 'subjects')}."
    )
    if scans.first_at is not None and scans.last_at is not None:
        click.echo(f"They happened from {shown(scans.first_at)} to {shown(scans.last_at)}.")


def _tell_trace(trace: TraceImpact) -> None:
    head = f"Trace {trace.trace}, asked {shown(trace.asked_at)} by {trace.actor}:"
    if trace.effect is Effect.EXPIRED:
        click.echo(f"{head} its scans are kept no longer, so nobody can say.")
        return
    if trace.effect is Effect.TOO_LARGE:
        click.echo(f"{head} too many people to look at here; ask it again as a job.")
        return
    click.echo(f"{head} {trace.removed:,} removed, {trace.added:,} added, {trace.changed:,} changed.")
    table = Table("contact", "with the key", "without", "by scans")
    for one in trace.contacts:
        scans = ", ".join(f"{scan.device} {scan.seq}" for scan in one.scans)
        add_row(table, one.subject, _standing(one.before), _standing(one.after), scans)
    show(table)
    left_out = trace.added + trace.removed + trace.changed - len(trace.contacts)
    if left_out:
        click.echo(f"{left_out:,} more are not shown.", err=True)


def _standing(standing: Standing | None) -> str:
    return "no contact" if standing is None else f"{standing.seconds / 60:,.0f} min, depth {standing.depth}"
