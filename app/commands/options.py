"""Values that several commands take."""

import sys
from typing import Any, Final

import click

from app.clock import NoTime, now_ms, time_of


class Time(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A time as people write it, as Unix ms."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Unix ms."""
        if isinstance(value, int):
            return value
        try:
            return time_of(str(value), now_ms())
        except NoTime as error:
            self.fail(str(error), param, ctx)


TIME: Final = Time()
"""`2021-10-21T08:30`, `2021-10-21`, `3d` (ago), `now`, or Unix ms."""


def asked_purpose(context: click.Context, purpose: str | None) -> str:
    """The purpose given, or typed in. Never a piped line, which may be somebody's number: purposes are kept."""
    if purpose is not None:
        return purpose
    if not sys.stdin.isatty():
        raise click.MissingParameter(ctx=context, param_hint="'--purpose'", param_type="option")
    return str(click.prompt("Purpose (kept in the audit log)", err=True))


def _asked(context: click.Context, parameter: click.Parameter, purpose: str | None) -> str:
    return asked_purpose(context, purpose)


PURPOSE_HELP: Final = "Why you look at these people, 10 to 500 characters; kept in the audit log."
PURPOSE: Final = click.option("--purpose", callback=_asked, help=PURPOSE_HELP)

AS_OF: Final = click.option("--as-of", "as_of", type=TIME, help="Answer from what was known then; default now.")
