"""`truyvet trace presets`."""

import textwrap

import click

from app.client import api_client
from app.settings import Settings
from events import codec
from tracing.presets import Preset

TEXT_COLUMNS = 96


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def presets(settings: Settings, *, as_json: bool) -> None:
    """List the named rules of contact: what they ask, with which parameters, and where they come from.

    \b
    Example:
      truyvet trace presets
      truyvet trace --case f0-17 --preset corona-warn-app --purpose "contacts of case 17"
    """
    found = api_client(settings).presets()
    if as_json:
        click.echo(codec.to_json(found))
        return
    for preset in found.items:
        _show(preset)


def _show(preset: Preset) -> None:
    click.echo(preset.name)
    said = preset.parameters
    parameters = {
        "--min": said.min_seconds,
        "--lag": said.lag_seconds,
        "--rule": said.rule,
        "--depth": said.depth,
        "--latency": said.latency_seconds,
    }
    line = " ".join(f"{name} {value}" for name, value in parameters.items() if value is not None)
    dwells = set(said.dwell_seconds.values())
    if len(dwells) == 1:
        line += f" --dwell {dwells.pop()} s for every category"
    elif dwells:
        line += " --dwell " + ", ".join(f"{category}={seconds}" for category, seconds in said.dwell_seconds.items())
    for text in (preset.words, line.strip(), preset.near):
        click.echo(textwrap.fill(text, TEXT_COLUMNS, initial_indent="  ", subsequent_indent="  "))
    click.echo(f"  Source: {preset.source.title}")
    if preset.source.url is not None:
        click.echo(f"  {preset.source.url}")
    click.echo()
