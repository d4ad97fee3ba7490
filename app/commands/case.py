"""`truyvet case`: confirmed cases (F0)."""

import click

from app import identify
from app.client import api_client
from app.clock import shown
from app.commands.options import PURPOSE, TIME
from app.key_file import load
from app.settings import Settings
from tracing.routes.cases import CaseRequest
from tracing.routes.closings import CaseState, ClosingRequest, ReopeningRequest


@click.group()
def case() -> None:
    """Record confirmed cases (F0), whose contacts `truyvet trace` finds.

    \b
    Example:
      truyvet case confirm --id f0-17 --purpose "confirmed by the province's laboratory"
    """


@case.command()
@click.argument("pseudonym", required=False)
@click.option("--cccd", is_flag=True, help="Ask for the citizen number instead of the pseudonym.")
@click.option("--id", "case_id", help="Your own number for the case; made up where you give none.")
@click.option("--at", "confirmed_at", type=TIME, default="now", show_default=True, help="When it was confirmed.")
@click.option("--from", "infectious_from", type=TIME, help="Infectious from; default 2 days before.")
@click.option("--to", "infectious_to", type=TIME, help="Infectious up to; default the confirmation.")
@click.option("--correct", is_flag=True, help="Change a case that is recorded with other values.")
@PURPOSE
@click.pass_obj
def confirm(
    settings: Settings,
    *,
    pseudonym: str | None,
    case_id: str | None,
    confirmed_at: int,
    infectious_from: int | None,
    infectious_to: int | None,
    purpose: str,
    cccd: bool,
    correct: bool,
) -> None:
    """Record that somebody is a confirmed case and print the case's id.

    The pseudonym is asked for when it is not given, or made from the citizen number with --cccd.

    \b
    Example:
      truyvet case confirm --cccd --id f0-17 --from 3d --purpose "confirmed by the province's laboratory"
    """
    if cccd and pseudonym is not None:
        raise click.UsageError("Give PSEUDONYM or --cccd, not both.")
    one = identify.citizen(load(settings.keys_path)) if cccd else identify.known(pseudonym)
    confirmed = api_client(settings).confirm_case(
        CaseRequest(
            id=case_id,
            subject=one.subject,
            confirmed_at=confirmed_at,
            infectious_from=infectious_from,
            infectious_to=infectious_to,
            correct=correct,
            purpose=purpose,
        )
    )
    click.echo(confirmed.id)
    click.echo(
        f"Infectious from {shown(confirmed.infectious_from)} to {shown(confirmed.infectious_to)}."
        f" Next: truyvet trace --case {confirmed.id}",
        err=True,
    )


@case.command()
@click.argument("case_id", metavar="ID")
@click.option("--at", type=TIME, default="now", show_default=True, help="Since when nobody works on it any more.")
@PURPOSE
@click.pass_obj
def close(settings: Settings, *, case_id: str, at: int, purpose: str) -> None:
    """Close case ID: its saved traces go once nobody needs them any more (`truyvet retention show`).

    \b
    Example:
      truyvet case close f0-17 --purpose "the outbreak at the market is over"
    """
    _tell(api_client(settings).close_case(case_id, ClosingRequest(at=at, purpose=purpose)))


@case.command()
@click.argument("case_id", metavar="ID")
@PURPOSE
@click.pass_obj
def reopen(settings: Settings, *, case_id: str, purpose: str) -> None:
    """Open case ID again: its saved traces stay.

    \b
    Example:
      truyvet case reopen f0-17 --purpose "a late test links another cluster to it"
    """
    _tell(api_client(settings).reopen_case(case_id, ReopeningRequest(purpose=purpose)))


def _tell(state: CaseState) -> None:
    if state.closed_at is None:
        click.echo(f"{state.case} is open: its saved traces stay.")
    elif state.traces_go_at is None:
        click.echo(f"{state.case} is closed since {shown(state.closed_at)}. Saved traces are kept for good.")
    else:
        click.echo(
            f"{state.case} is closed since {shown(state.closed_at)}. Its saved traces go after"
            f" {shown(state.traces_go_at)}, unless another open case needs them."
        )
