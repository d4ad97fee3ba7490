"""`truyvet settings`."""

import click

from app.settings import Settings


@click.command()
@click.pass_obj
def settings(settings: Settings) -> None:
    """Print every setting with its value in force; secrets and passwords are masked.

    Every line is an environment variable that you can set. Values that depend on others are shown as resolved.

    \b
    Example:
      TRUYVET_INGEST_PORT=9470 truyvet settings
    """
    for name, value in settings.masked().items():
        click.echo(f"{name}={value}")
