"""What the commands of `truyvet trace` ask: the options of a question, and the question that they make."""

import functools
import math
from collections.abc import Callable
from typing import Any, Final

import click
import msgspec

from app.commands.options import AS_OF, TIME
from events.places import DWELL_SECONDS_MAX, DWELL_SECONDS_MIN, Category
from tracing.doubts import Reason
from tracing.presets import PRESETS
from tracing.question import DEPTH_MAX, Index, Question
from tracing.rule import Rule


class Dwell(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """`CATEGORY=SECONDS`."""

    name = "CATEGORY=SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Category, int]:
        """The category with its dwell."""
        if isinstance(value, tuple):
            return value
        name, _, seconds = str(value).partition("=")
        if name not in set(Category) or not seconds.isdecimal():
            self.fail(f"write a category of places and seconds, such as market=1800; there are {', '.join(Category)}.")
        if not DWELL_SECONDS_MIN <= int(seconds) <= DWELL_SECONDS_MAX:
            self.fail(f"a dwell lasts {DWELL_SECONDS_MIN} to {DWELL_SECONDS_MAX} seconds.")
        return Category(name), int(seconds)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options as they were given; None: left to the preset, else to the service's default."""

    cases: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    from_ms: int | None = None
    to_ms: int | None = None
    preset: str | None = None
    lag_seconds: int | None = None
    min_seconds: float | None = None
    rule: str | None = None
    depth: int | None = None
    latency_seconds: int | None = None
    dwell: tuple[tuple[Category, int], ...] = ()
    as_of: int | None = None
    leave_out_doubtful: tuple[str, ...] = ()
    at_once: bool = False
    no_evidence: bool = False

    @property
    def least(self) -> int | float | None:
        """`--min` as the service takes it: whole seconds as an integer."""
        if self.min_seconds is None:
            return None
        return int(self.min_seconds) if self.min_seconds == int(self.min_seconds) else self.min_seconds

    def question(self) -> Question:
        """The question that they make."""
        return Question(
            index=Index(cases=self.cases, subjects=self.subjects),
            from_=self.from_ms,
            to=self.to_ms,
            preset=self.preset,
            lag_seconds=self.lag_seconds,
            min_seconds=self.least,
            rule=Rule(self.rule) if self.rule is not None else None,
            depth=self.depth,
            latency_seconds=self.latency_seconds,
            dwell_seconds=dict(self.dwell),
            as_of=self.as_of,
            leave_out_doubtful=tuple(map(Reason, self.leave_out_doubtful)),
            wait=not self.at_once,
            evidence=not self.no_evidence,
        )


_ABOUT: Final = (
    click.option("--case", "cases", multiple=True, metavar="ID", help="A confirmed case; may be given several times."),
    click.option("--subject", "subjects", multiple=True, metavar="PSEUDONYM", help="Or anybody, with --from and --to."),
    click.option("--from", "from_ms", type=TIME, help="Window from; default the case's infectious one."),
    click.option("--to", "to_ms", type=TIME, help="Window up to."),
)
_THRESHOLD: Final = (
    click.option("--lag", "lag_seconds", type=int, help="Seconds that the air stays infectious; default 0."),
    click.option("--min", "min_seconds", type=float, help="Seconds together; default 900."),
)
_RULE: Final = (
    click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        help="A named rule, for what is not given here; `truyvet trace presets` explains them.",
    ),
    click.option(
        "--rule",
        type=click.Choice([rule.value for rule in Rule]),
        help="What must last --min: all encounters together (total, the default), or a single one (encounter).",
    ),
    click.option("--depth", type=click.IntRange(1, DEPTH_MAX), help="2 finds F2 as well; default 1."),
    click.option("--latency", "latency_seconds", type=int, help="Seconds until a contact infects others; default 0."),
    click.option(
        "--dwell",
        type=Dwell(),
        multiple=True,
        metavar="CATEGORY=SECONDS",
        help="How long somebody is taken to remain who never scans out; may be given several times.",
    ),
    AS_OF,
)

_DOUBT: Final = click.option(
    "--leave-out-doubtful",
    type=click.Choice([reason.value for reason in Reason]),
    multiple=True,
    help="Ask without scans that `truyvet doubts` lists for this reason; may be given several times.",
)

_ANSWER: Final = (
    click.option("--at-once", is_flag=True, help="As of what the read models have reached: wait for nothing later."),
    click.option("--no-evidence", is_flag=True, help="Contacts without encounters, for answers about thousands."),
)


def question_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All options of a question, which reach the command as one `asked: Asked`."""
    return _with((*_ABOUT, *_THRESHOLD, *_RULE, _DOUBT, *_ANSWER), command)


def grid_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same without the threshold and the lag."""
    return _with((*_ABOUT, *_RULE), command)


def change_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same without whom it is about."""
    return _with((*_THRESHOLD, *_RULE), command)


def _with(options: tuple[Callable[..., Any], ...], command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def called(*arguments: Any, **values: Any) -> Any:
        given = {name: values.pop(name) for name in Asked.__struct_fields__ if name in values}
        least = given.get("min_seconds")
        if least is not None and not math.isfinite(least):
            raise click.BadParameter("it must be a number of seconds.", param_hint="--min")
        return command(*arguments, asked=Asked(**given), **values)

    for option in reversed(options):
        called = option(called)
    return called


def check_somebody(asked: Asked) -> None:
    """A usage error where nobody is asked about."""
    if not asked.cases and not asked.subjects:
        raise click.UsageError("Whom? Give --case ID or --subject PSEUDONYM.")
