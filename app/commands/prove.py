"""`truyvet prove`."""

import sys

import click

from app.client import api_client
from app.clock import shown
from app.commands.options import PURPOSE
from app.settings import Settings
from events import codec
from tracing.proof import ProofVerdict


@click.command()
@click.argument("device")
@click.argument("seq", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="With signature, public key and what was signed, as JSON.")
@PURPOSE
@click.pass_obj
def prove(settings: Settings, device: str, seq: int, purpose: str, *, as_json: bool) -> None:
    """Verify scan SEQ of DEVICE again, from the signed request that brought it in.

    Exits with 1 unless the device's own signature proves that the log says what was sent.

    \b
    Example:
      truyvet prove gate-1 1042 --purpose "the visitor disputes the visit"
    """
    proof = api_client(settings).prove(device, seq, purpose)
    if as_json:
        click.echo(codec.to_json(proof))
    else:
        place = proof.scan.place or "(a place that is not registered)"
        click.echo(f"{proof.verdict.value}: {device}/{seq}, {proof.scan.kind.value} at {place}, {shown(proof.scan.at)}")
        click.echo(f"received {shown(proof.received)}, signed by key {proof.device}.{proof.key}")
        if proof.quarantined:
            click.echo("The key was revoked from before that on: no trace uses this scan.")
    sys.exit(0 if proof.verdict is ProofVerdict.PROVEN else 1)
