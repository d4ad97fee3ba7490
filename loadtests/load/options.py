"""What a load test can be told on Locust's command line, beside Locust's own options.

The master hands these to its workers. The token is not among them: it comes from the environment of each process, so
that no list of processes shows it and no message carries it.
"""

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from events.scans import BATCH_SCANS_MAX
from loadtests.load.shapes import Shape

TOKEN_VARIABLE: Final = "TRUYVET_TOKEN"
API_URL_VARIABLE: Final = "TRUYVET_API_URL"
LEDGER_DEFAULT: Final = Path("truyvet-load/ledger")
BATCH_SCANS_DEFAULT: Final = 500
BACKLOG_SCANS_DEFAULT: Final = 2_000
RUN_SECONDS_DEFAULT: Final = 45
USERS_DEFAULT: Final = 40


class OptionsUnusable(Exception):
    """An option is missing or cannot be used; the message says what to do."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options as they were given. `codes` is None where people show none."""

    ingest_url: str
    api_url: str
    token: str
    shape: Shape
    batch_scans: int
    backlog_scans: int
    ledger: Path
    codes: Path | None


def add_options(parser: Any) -> None:
    """Tell Locust's parser of them."""
    group = parser.add_argument_group("Truyvet load test")
    group.add_argument(
        "--api-url",
        default="",
        env_var=API_URL_VARIABLE,
        help="The trace service's address; left out it is that of --host, as behind a deployment's proxy.",
    )
    group.add_argument("--shape", choices=[shape.value for shape in Shape], default=Shape.STEADY.value)
    group.add_argument("--batch-scans", type=int, default=BATCH_SCANS_DEFAULT, help="Most scans of a gateway's batch.")
    group.add_argument(
        "--backlog-scans",
        type=int,
        default=BACKLOG_SCANS_DEFAULT,
        help="How many scans a scanner has gathered when a reconnect storm breaks loose.",
    )
    group.add_argument(
        "--ledger", default=str(LEDGER_DEFAULT), help="The directory that this process's ledger goes to."
    )
    group.add_argument("--codes", default="", help="A file of codes, made by python -m loadtests.load.codes.")


def read_options(parsed: Any, host: str | None) -> Options:
    """Locust's parsed options as a struct. Raises `OptionsUnusable`."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise OptionsUnusable(f"Set {TOKEN_VARIABLE} to a token of the role admin: it enrols the test's devices.")
    if not host:
        raise OptionsUnusable("Name the ingest edge: --host https://truyvet.example")
    if not 1 <= parsed.batch_scans <= BATCH_SCANS_MAX:
        raise OptionsUnusable(f"--batch-scans is 1 to {BATCH_SCANS_MAX}.")
    return Options(
        ingest_url=host.rstrip("/"),
        api_url=(parsed.api_url or host).rstrip("/"),
        token=token,
        shape=Shape(parsed.shape),
        batch_scans=parsed.batch_scans,
        backlog_scans=parsed.backlog_scans,
        ledger=Path(parsed.ledger),
        codes=Path(parsed.codes) if parsed.codes else None,
    )
