"""`truyvet exposures`: places by how much they exposed people."""

import click
from rich.table import Table

from app.client import api_client
from app.clock import shown, shown_seconds
from app.commands.absence import tell_absent, tell_expired
from app.commands.options import PURPOSE
from app.commands.trace_question import Asked, check_somebody, question_options
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.outbreak.exposures import PLACES_DEFAULT, PLACES_MAX, ExposedPlace, Order
from tracing.routes.exposures import ExposuresRequest


@click.command()
@click.option("--trace", "trace_id", metavar="ID", help="The contacts of a saved trace; instead of a question.")
@question_options
@click.option(
    "--by",
    "order",
    type=click.Choice([order.value for order in Order]),
    default=Order.PERSON_SECONDS.value,
    show_default=True,
    help="What comes first: most people × time, most people, or fullest against its capacity.",
)
@click.option(
    "--show",
    "places_max",
    type=click.IntRange(1, PLACES_MAX),
    default=PLACES_DEFAULT,
    show_default=True,
    help="How many places.",
)
@click.option("--json", "as_json", is_flag=True, help="The whole answer as JSON.")
@PURPOSE
@click.pass_obj
def exposures(
    settings: Settings,
    *,
    trace_id: str | None,
    asked: Asked,
    order: str,
    places_max: int,
    purpose: str,
    as_json: bool,
) -> None:
    """Rank the places where the contacts of a case were exposed, and how full each was while the case was there.

    \b
    Example:
      truyvet exposures --case f0-17 --purpose "where to disinfect first"
      truyvet exposures --trace 3f…9a --by crowding --purpose "which places were too full"
    """
    if trace_id is None:
        check_somebody(asked)
    elif asked != Asked():
        raise click.UsageError("Give --trace, or a question, not both: the trace has its own.")
    found = api_client(settings).exposures(
        ExposuresRequest(
            trace=trace_id,
            question=asked.question() if trace_id is None else None,
            order=Order(order),
            places_max=places_max,
            purpose=purpose,
        )
    )
    if as_json:
        click.echo(codec.to_json(found))
        return
    table = Table("place", "exposed", "people × time", "cases", "cases there for", "first", "last", "peak", "full")
    for one in found.places:
        add_row(table, *_cells(one))
    show(table)
    click.echo(
        f"{counted(found.people, 'contact', 'contacts')} exposed for {shown_seconds(found.person_seconds)} together,"
        f" as of {shown(found.cut_off.as_of)}."
    )
    tell_absent(found.index)
    tell_expired(found.cut_off)
    if found.left_out:
        click.echo(f"{counted(found.left_out, 'more place', 'more places')}; --show gives more.", err=True)


def _cells(one: ExposedPlace) -> tuple[str, ...]:
    return (
        " in ".join((one.place, *one.within)),
        f"{one.people:,}",
        shown_seconds(one.person_seconds),
        f"{one.index:,}",
        shown_seconds(one.index_seconds),
        shown(one.first),
        shown(one.last),
        _peak(one),
        f"{one.crowding:.0%}" if one.crowding is not None else "",
    )


def _peak(one: ExposedPlace) -> str:
    if one.peak is None:
        return "kept no longer"
    return f"{one.peak:,}" + (f" of {one.capacity:,}" if one.capacity else "")
