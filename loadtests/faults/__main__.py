"""`make faults`: a campaign from the command line."""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

import click

from events import codec
from loadtests.ending import exit_when_told
from loadtests.faults.campaign import CampaignFailed, Report, campaign
from loadtests.faults.schedule import BLOCK_ROUNDS, Round, scheduled
from loadtests.faults.steps import DECK
from loadtests.faults.system import Stuck

FAILED: Final = 1


@click.command()
@click.option("--seed", default=1, show_default=True, help="What the schedule is drawn from.")
@click.option("--rounds", default=25, show_default=True, help="How many rounds to play.")
@click.option("--from", "first", default=0, show_default=True, help="The number of the first.")
@click.option("--report", type=click.Path(path_type=Path), help="A file that gets a JSON line for each round.")
@click.option("--hasty", is_flag=True, help="With a sink that acknowledges before it inserts: this must fail.")
@click.option("--plan", is_flag=True, help="Print the schedule and play nothing.")
def faults(*, seed: int, rounds: int, first: int, report: Path | None, hasty: bool, plan: bool) -> None:
    """Kill and cut off every process under load, again and again, and check after every round that nothing is lost,
    doubled or altered, and that the read models are what a rebuild gives.
    """
    if plan:
        for number in range(first, first + rounds):
            click.echo(announcement(scheduled(seed, number)))
        return
    exit_when_told()
    played: list[Report] = []

    def tell(one: Report) -> None:
        played.append(one)
        if report is not None:
            with report.open("ab") as file:
                file.write(codec.to_json(one) + b"\n")
        click.echo(line(one))

    if report is not None:
        report.unlink(missing_ok=True)
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="truyvet-faults-"))
    try:
        campaign(seed, first, rounds, directory, hasty=hasty, on_report=tell)
    except Stuck as stuck:
        click.echo(f"\nA system does not start: {stuck}\nData and logs: {directory}")
        sys.exit(FAILED)
    except CampaignFailed as failed:
        click.echo(f"\n{failed}\nData and logs: {failed.directory}")
        number = failed.report.round
        start = max(first, number // BLOCK_ROUNDS * BLOCK_ROUNDS)
        click.echo(f"That round alone: make faults SEED={seed} FROM={number} ROUNDS=1")
        click.echo(f"With what its system had seen: make faults SEED={seed} FROM={start} ROUNDS={number - start + 1}")
        sys.exit(FAILED)
    directory.rmdir()
    click.echo(summary(played, time.monotonic() - began))


def announcement(planned: Round) -> str:
    """A round that is to come, for people."""
    order = " ".join(planned.restart_order)
    return f"round {planned.number:>4} {planned.mode:<8} [{', '.join(map(str, planned.faults))}] then start {order}"


def line(one: Report) -> str:
    """A round for people."""
    seconds = one.load_seconds + one.recover_seconds + one.audit_seconds
    outcome = one.failure or "ok"
    return (
        f"round {one.round:>4} {one.mode:<8} {one.acknowledged:>6,} scans {seconds:>5.1f} s  {outcome}"
        f"  [{', '.join(one.faults)}]"
    )


def summary(played: list[Report], seconds: float) -> str:
    """All rounds for people."""
    kinds = Counter(fault.partition(" ")[0] for one in played for fault in one.faults)
    steps = {step for one in played for step in one.died_at}
    return "\n".join(
        (
            "",
            f"{len(played)} rounds passed in {seconds:,.0f} s.",
            f"Faults: {', '.join(f'{count} × {kind}' for kind, count in sorted(kinds.items()))}.",
            f"Steps died at: {len(steps)} of {len(DECK)}.",
            f"{sum(one.acknowledged for one in played):,} scans acknowledged in {sum(one.attempts for one in played):,}"
            f" requests, {sum(one.deliveries for one in played):,} deliveries in the log:"
            " 0 lost, 0 doubled, 0 altered; read models equal to a rebuild after every round.",
        )
    )


if __name__ == "__main__":
    faults()
