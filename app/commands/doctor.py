"""`truyvet doctor`."""

import sys

import click
from rich.console import Console

from app.checks import checks
from app.settings import Settings


@click.command()
@click.pass_obj
def doctor(settings: Settings) -> None:
    """Check every part of the service, one line each, and say what to do where something is wrong.

    Exits with 1 if anything must be mended. Reads only; safe at any time.

    \b
    Example:
      truyvet doctor
    """
    console = Console(highlight=False, soft_wrap=True)
    marks = {"good": "[green]✓[/]", "warning": "[yellow]![/]", "bad": "[red]✗[/]"}
    bad = False
    for finding in checks(settings):
        advice = f"  {finding.advice}" if finding.advice else ""
        console.print(marks[finding.state], f"{finding.part:<12}", finding.text + advice, markup=True)
        bad = bad or finding.state == "bad"
    sys.exit(1 if bad else 0)
