"""`truyvet place`: premises, rooms, vehicles and checkpoints."""

import sys
from pathlib import Path
from typing import TextIO

import click
from rich.table import Table

from app.commands.place_occupancy import occupancy
from app.csv_output import write_csv
from app.place_file import COLUMNS, FileRefused, change, read_places
from app.registries import open_registries
from app.settings import Settings
from app.terminal import add_row, counted, show
from events.control import PlaceRegistered
from events.places import Category


@click.group()
def place() -> None:
    """Import and list places. A place is where people scan; places form a tree, a room lies in its building.

    \b
    Example:
      truyvet place import places.csv
    """


@place.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"), metavar="FILE.csv")
@click.pass_obj
def import_places(settings: Settings, file: TextIO) -> None:
    """Register the places of a CSV file, or change them to what the file says. Safe to repeat.

    Columns: id, name, category, parent, dwell_seconds, province, district, commune, latitude, longitude, capacity,
    opens, closes; id and name are needed, parents may come in any order. One bad line and nothing is imported. FILE -
    is standard input.

    \b
    Example:
      printf 'id,name,category,parent\\nmarket,Chợ Bến Thành,market,\\nrow-a,Dãy A,market,market\\n' > places.csv
      truyvet place import places.csv
    """
    try:
        rows = read_places(file)
        with open_registries(settings) as registries:
            control = registries.control
            planned = change(rows, registries.registry.places(), lambda: control.next_number("place"))
            registries.record([PlaceRegistered(place) for place in planned.places])
    except FileRefused as refused:
        name = Path(file.name).name
        for error in refused.errors:
            click.echo(f"{name}:{error.line}: {error.text}", err=True)
        raise click.ClickException("Nothing was imported. Correct these lines and run the import again.") from None
    click.echo(f"{len(planned.new)} new, {len(planned.changed)} changed, {planned.unchanged} as they were.")


@place.command("list")
@click.option("--category", type=click.Choice([category.value for category in Category]), help="Only these premises.")
@click.option("--within", metavar="ID", help="Only this place and what lies in it.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, ready to be imported again.")
@click.pass_obj
def list_places(settings: Settings, category: str | None, within: str | None, *, as_csv: bool) -> None:
    """List the registered places.

    \b
    Example:
      truyvet place list --within market
    """
    with open_registries(settings) as registries:
        tree = registries.registry.places()
    if within is not None and within not in tree.by_id:
        raise click.ClickException(f"No place has the id {within!r}. `truyvet place list` shows them all.")
    places = [
        place
        for _, place in sorted(tree.by_id.items())
        if (category is None or place.category == category) and (within is None or tree.within(place.id, within))
    ]
    if as_csv:
        write_csv(sys.stdout, COLUMNS, ([getattr(place, column) for column in COLUMNS] for place in places))
        return
    table = Table("id", "name", "category", "parent", "dwell", "province")
    for one in places:
        add_row(table, one.id, one.name, one.category.value, one.parent, f"{one.dwell_ms // 60_000} min", one.province)
    show(table)
    click.echo(f"{counted(len(places), 'place', 'places')}.", err=True)


place.add_command(occupancy)
