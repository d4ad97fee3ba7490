"""`truyvet simulate`: the scans of a make-believe province, through the public edge."""

import datetime
from typing import Final, TextIO

import click
from rich.console import Console

from app.clock import now_ms
from app.csv_output import write_csv
from app.settings import Settings
from app.simulate.perform import Performed, Province, perform, raise_province
from app.simulate.plan import (
    DAY_MS,
    DAYS_DEFAULT,
    DAYS_MAX,
    HOUR_MS,
    PEOPLE_DEFAULT,
    PEOPLE_MAX,
    PEOPLE_MIN,
    SEED_DEFAULT,
    SEED_MAX,
    VIETNAM,
    Plan,
    local_midnight,
)
from ingest.limits import EdgeLimits

SENDING_MS_MAX: Final = 6 * HOUR_MS
LINE_LIST_COLUMNS: Final = ("subject", "name")


@click.command()
@click.option(
    "--people",
    type=click.IntRange(PEOPLE_MIN, PEOPLE_MAX),
    default=PEOPLE_DEFAULT,
    show_default=True,
    help="Residents.",
)
@click.option("--days", type=click.IntRange(1, DAYS_MAX), default=DAYS_DEFAULT, show_default=True, help="Whole days.")
@click.option("--seed", type=click.IntRange(0, SEED_MAX), default=SEED_DEFAULT, show_default=True, help="Which world.")
@click.option(
    "--end", type=click.DateTime(["%Y-%m-%d"]), help="The day (in Vietnam) at whose beginning it ends; today."
)
@click.option(
    "--line-list",
    type=click.File("x", encoding="utf-8"),
    help="Also write the residents into this new file, for `truyvet people import`; who was out most comes first.",
)
@click.pass_obj
def simulate(
    settings: Settings, *, people: int, days: int, seed: int, end: datetime.datetime | None, line_list: TextIO | None
) -> None:
    """Send the scans of a simulated province to the service that runs here.

    Registers places and devices, then posts every scan as signed batches: late ones, repeated ones and refused ones
    too. The same people, days, seed and end give the same world to the byte, and sending it twice changes nothing.
    Needs the service's key file and stream, so run it beside the server.

    \b
    Example:
      truyvet simulate --people 500 --days 7 --seed 3
    """
    console = Console(stderr=False)
    plan = Plan(people=people, days=days, seed=seed, end=end_of(end, days))
    province = raise_province(settings, plan, console)
    performed = perform(settings, province, console)
    console.print(summary(province, performed), highlight=False)
    if line_list is not None:
        write_csv(line_list, LINE_LIST_COLUMNS, residents(province))
    if performed.tally.surprises:
        lines = "\n  ".join(performed.tally.surprises)
        raise click.ClickException(f"Some receipts are not what they must be:\n  {lines}")


def end_of(day: datetime.datetime | None, days: int) -> int:
    """Unix ms of the midnight in Vietnam at which the day begins; None is today.

    Raises `click.BadParameter` where `days` before it reach into the future, or further back than the edge takes.
    """
    now = now_ms()
    end = local_midnight(now) if day is None else int(day.replace(tzinfo=VIETNAM).timestamp()) * 1000
    if end > now:
        raise click.BadParameter("that day has not begun yet in Vietnam", param_hint="--end")
    if end - days * DAY_MS < now - EdgeLimits().scan_age_seconds_max * 1000 + SENDING_MS_MAX:
        raise click.BadParameter("that is longer ago than the edge takes scans from", param_hint="--end")
    return end


def residents(province: Province) -> list[tuple[str, str]]:
    """Pseudonym and name of every resident, whoever was at most places first. Their names are numbers."""
    lives = province.world.lives
    busiest = sorted(province.world.people, key=lambda person: (-len(lives[person.number]), person.number))
    return [(province.wallet.pseudonym(person.number), f"Resident {person.number}") for person in busiest]


def summary(province: Province, performed: Performed) -> str:
    """What was sent and what became of it, for the terminal."""
    world, tally = province.world, performed.tally
    return (
        f"Sent {tally.scans:,} scans of {len(world.people):,} people at {len(world.premises.places):,} places:"
        f" {tally.parcels:,} signed batches\nfrom {len(world.taken):,} devices in {performed.seconds:.0f} s"
        f" ({performed.scans_per_second:,.0f} scans/s). {tally.accepted:,} accepted, {tally.duplicate:,} duplicates"
        f" recognised,\n{tally.refused:,} expired codes refused. The edge asked for patience {tally.waited:,} times."
    )
