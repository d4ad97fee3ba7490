"""`truyvet backward`: where several cases may have been infected."""

from collections.abc import Iterable

import click
from rich.table import Table

from app.client import api_client
from app.clock import shown, shown_seconds
from app.commands.absence import tell_absent, tell_expired
from app.commands.options import AS_OF, PURPOSE, TIME
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.outbreak.chance import Chance
from tracing.outbreak.exposed import (
    EXPOSED_MAX,
    ITEMS_DEFAULT,
    ITEMS_MAX,
    LOOKBACK_DAYS_DEFAULT,
    LOOKBACK_DAYS_MAX,
    Exposed,
)
from tracing.outbreak.sources import SourcePerson, SourcePlace, SourcesAnswer
from tracing.question import LAG_SECONDS_MAX, MIN_SECONDS_DEFAULT
from tracing.routes.sources import SourcesRequest

SHOWN_DEFAULT = 10


@click.command()
@click.option("--case", "cases", multiple=True, metavar="ID", help="A confirmed case; give at least two.")
@click.option("--subject", "subjects", multiple=True, metavar="PSEUDONYM", help="Or anybody, with --from and --to.")
@click.option("--from", "from_ms", type=TIME, help="May have been infected from; default --lookback before infectious.")
@click.option("--to", "to_ms", type=TIME, help="May have been infected up to; default when they became infectious.")
@click.option(
    "--lookback",
    "lookback_days",
    type=click.IntRange(1, LOOKBACK_DAYS_MAX),
    default=LOOKBACK_DAYS_DEFAULT,
    show_default=True,
    help="Days before the infectious window: 14 of incubation, less 2 of infecting before the symptoms.",
)
@click.option(
    "--least",
    "cases_min",
    type=click.IntRange(2, EXPOSED_MAX),
    default=2,
    show_default=True,
    help="How many of the cases a place or a person must explain.",
)
@click.option(
    "--min",
    "min_seconds",
    type=click.IntRange(1),
    default=MIN_SECONDS_DEFAULT,
    show_default=True,
    help="Seconds with each.",
)
@click.option(
    "--lag", "lag_seconds", type=click.IntRange(0, LAG_SECONDS_MAX), default=0, help="Seconds that left air counts."
)
@click.option(
    "--show",
    "shown_max",
    type=click.IntRange(1, ITEMS_MAX),
    default=SHOWN_DEFAULT,
    show_default=True,
    help=f"How many places and people are printed; --json has up to {ITEMS_DEFAULT}, or as many as are given here.",
)
@AS_OF
@click.option("--json", "as_json", is_flag=True, help="The whole answer with all its evidence, as JSON.")
@PURPOSE
@click.pass_obj
def backward(
    settings: Settings,
    *,
    cases: tuple[str, ...],
    subjects: tuple[str, ...],
    from_ms: int | None,
    to_ms: int | None,
    lookback_days: int,
    cases_min: int,
    min_seconds: int,
    lag_seconds: int,
    shown_max: int,
    as_of: int | None,
    purpose: str,
    as_json: bool,
) -> None:
    """Find where several cases may have been infected: the places that they shared, and the people whom they met.

    A place explains a case who was there, or inside it, while they may have been infected. `by chance` is how likely it
    is that as many of them were there, had they been drawn blindly from all people who were scanned: the least likely
    come first. People known to have been infectious at the time come before all others.

    \b
    Example:
      truyvet backward --case f0-17 --case f0-18 --case f0-21 --purpose "where the cluster of October began"
    """
    exposed = [Exposed(case=case, from_=from_ms, to=to_ms) for case in cases]
    exposed += [Exposed(subject=subject, from_=from_ms, to=to_ms) for subject in subjects]
    if len(exposed) < 2:
        raise click.UsageError("Whom? Give --case ID at least twice: one case has nothing in common with itself.")
    answer = api_client(settings).sources(
        SourcesRequest(
            exposed=tuple(exposed),
            lookback_days=lookback_days,
            cases_min=cases_min,
            min_seconds=min_seconds,
            lag_seconds=lag_seconds,
            places_max=max(shown_max, ITEMS_DEFAULT),
            people_max=max(shown_max, ITEMS_DEFAULT),
            as_of=as_of,
            purpose=purpose,
        )
    )
    if as_json:
        click.echo(codec.to_json(answer))
        return
    _show_places(answer.places[:shown_max])
    _show_people(answer.people[:shown_max])
    _conclude(answer, shown_max)


def likelihood(chance: Chance) -> str:
    """`1 in 3.2 million` and the like; `likely` where it says nothing."""
    times = 10**-chance.log10_chance
    if times < 10:
        return "likely"
    for name, size in (("billion", 1e9), ("million", 1e6)):
        if times >= size:
            return f"1 in {times / size:,.1f} {name}" if times < 1e15 else f"1 in 10^{-chance.log10_chance:.0f}"
    return f"1 in {times:,.0f}"


def _show_places(places: Iterable[SourcePlace]) -> None:
    table = Table("place", "from", "to", "cases", "people there", "expected", "by chance")
    for one in places:
        chance = one.chance
        add_row(
            table,
            " in ".join((one.place, *one.within)),
            shown(one.from_),
            shown(one.to),
            f"{chance.explained} of {chance.eligible}",
            f"{chance.around:,}",
            f"{chance.expected:,.2f}",
            likelihood(chance),
        )
    show(table)


def _show_people(people: Iterable[SourcePerson]) -> None:
    table = Table("person", "cases met", "while infectious", "together", "people around", "by chance", "own case")
    table.columns[0].no_wrap = True
    for one in people:
        chance = one.chance
        add_row(
            table,
            one.subject,
            f"{chance.explained} of {chance.eligible}",
            f"{one.met_while_infectious}" if one.cases else "",
            shown_seconds(one.seconds),
            f"{chance.around:,}",
            likelihood(chance),
            ", ".join(one.cases),
        )
    show(table)


def _conclude(answer: SourcesAnswer, shown_max: int) -> None:
    click.echo(
        f"Of {answer.population:,} people scanned in the cases' windows, as of {shown(answer.cut_off.as_of)};"
        f" {counted(answer.spans_compared, 'span', 'spans')} of time at places and"
        f" {counted(answer.people_compared, 'person', 'people')} were compared."
    )
    for left_out, what in ((answer.spans_left_out, "spans"), (answer.people_left_out, "people")):
        if left_out:
            click.echo(f"{left_out:,} more {what} explain fewer cases and were not compared.", err=True)
    if len(answer.places) > shown_max or len(answer.people) > shown_max:
        click.echo(f"The first {shown_max} are shown; --show and --json give more.", err=True)
    tell_absent(answer.exposed)
    tell_expired(answer.cut_off)
    click.echo(f"Answer {answer.id}, fingerprint {answer.fingerprint}.")
