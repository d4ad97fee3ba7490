"""docs/operations.md against the program: settings, metrics, readiness, commands and services by name."""

import re
from pathlib import Path

from app.cli import COMMANDS
from app.settings import PREFIX, Settings
from events.problems import CATALOGUE
from events.readiness import PROBLEMS, CheckName
from tests.deploy import compose
from tracing.routes.health import Ready

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return TEXT[TEXT.index(f"\n## {heading}\n") :].partition("\n## ")[2].partition("\n## ")[0]


def test_every_setting_is_listed() -> None:
    listed = re.findall(r"`(TRUYVET_[A-Z_]+)`", "\n".join(re.findall(r"^\| (.*?) \|", section("Settings"), re.M)))
    assert listed == [PREFIX + name.upper() for name in Settings.__struct_fields__]


def test_settings_defaults() -> None:
    for variables, values in re.findall(r"^\| (`TRUYVET.*?) \| (.*?) \|", section("Settings"), re.M):
        for variable, value in zip(variables.split(", "), values.split(", "), strict=False):
            field = variable.strip("`").removeprefix(PREFIX).lower()
            default = getattr(Settings(data_dir=Path("truyvet-data")), field)
            if isinstance(default, int | float) or (default and field != "data_dir"):
                assert value.strip("`") == f"{default:g}" if isinstance(default, float) else str(default), variable


def test_readiness_is_explained() -> None:
    checks, _, trace = section("What to watch").partition("Trace's `readyz`")
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (?:`([a-z-]+)` )?\|$", checks, re.M)
    assert rows == [(name.value, PROBLEMS[name].name if name in PROBLEMS else "") for name in CheckName]
    fields = re.findall(r"^\| `([a-z_]+)` \|", trace, re.M)
    assert fields == list(Ready.__struct_fields__)


def test_commands_services_and_problems_exist() -> None:
    # Names in code, where a command is the word after `truyvet`.
    assert set(re.findall(r"`truyvet ([a-z]+)", TEXT)) <= COMMANDS.keys()
    assert set(re.findall(r"run --rm (?:-T )?admin ([a-z]+)", TEXT)) <= COMMANDS.keys()
    named = set(
        re.findall(r"`([a-z]+)`", "".join(re.findall(r"^\| (`.*?) \|", section("As a server, with compose"), re.M)))
    )
    assert named == compose.services().keys()
    assert set(re.findall(r"(?:503|401) `([a-z-]+)`", TEXT)) <= CATALOGUE.keys()
