"""`python -m loadtests.load.audit`: hold every acknowledged scan of the ledgers against the log of the service.

Exit code 0 where nothing is lost, doubled or altered, 1 where something is, 2 where it could not be told.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from events import codec
from loadtests.load.api import ApiFailed, OperatorApi
from loadtests.load.ledger import LedgerBroken, Ledgers
from loadtests.load.options import API_URL_VARIABLE, TOKEN_VARIABLE
from loadtests.load.reconcile import Account, Finding

WAIT_SECONDS_DEFAULT: Final = 300.0
EXAMPLES_SHOWN: Final = 20
WRONG: Final = 1
UNTOLD: Final = 2


class Audit(msgspec.Struct, frozen=True):
    """What came out: the sums, the first examples of what is wrong, and how long the log and the check took."""

    account: Account
    examples: list[Finding]
    waited_seconds: float
    checked_seconds: float


class NothingToAudit(Exception):
    """No ledger holds an acknowledged scan; the message names the directory."""


def audit(directory: Path, api: OperatorApi, *, wait_seconds: float, clock: Callable[[], float]) -> Audit:
    """Wait until the log has all that was acknowledged, then reconcile device by device.

    Raises `ApiFailed`, `LedgerBroken`, `NothingToAudit`.
    """
    began = clock()
    ledgers = Ledgers(directory)
    api.await_everything(wait_seconds)
    complete = clock()
    account, examples = Account(), list[Finding]()
    for device in ledgers.devices:
        found = account.reconcile(device, ledgers.batches(device), api.logged(device))
        examples += found[: EXAMPLES_SHOWN - len(examples)]
    if not account.acknowledged:
        raise NothingToAudit(
            f"{directory} holds no ledger with an acknowledged scan. Where did the load test write it?"
        )
    return Audit(account, examples, round(complete - began, 3), round(clock() - complete, 3))


def summary_line(done: Audit) -> bytes:
    """The audit as one JSON object."""
    account = msgspec.to_builtins(done.account)
    totals = {"acknowledged": done.account.acknowledged, "refused": sum(done.account.refused.values())}
    times = {"waited_seconds": done.waited_seconds, "checked_seconds": done.checked_seconds}
    return codec.to_json({"audit": "load", **account, **totals, "refusals": done.account.refused, **times})


def show(done: Audit, console: Console) -> None:
    """The audit for people."""
    account = done.account
    table = Table(title="Every acknowledged scan against the log", title_justify="left")
    table.add_column("")
    table.add_column("scans", justify="right")
    rows = [
        ("sent", account.scans),
        ("acknowledged", account.acknowledged),
        ("  accepted", account.accepted),
        ("  duplicate: sent before, its answer lost", account.duplicate),
        *((f"  refused: {reason}", count) for reason, count in sorted(account.refused.items())),
        ("never answered for", account.unanswered),
        ("deliveries in the log", account.deliveries),
        ("  beyond the first of a scan, rightly", account.repeated),
    ]
    for name, count in rows:
        table.add_row(name, f"{count:,}")
    table.add_section()
    for name, count in (("lost", account.lost), ("doubled", account.doubled), ("altered", account.altered)):
        style = "bold red" if count else "green"
        table.add_row(f"[{style}]{name}[/]", f"[{style}]{count:,}[/]")
    console.print(table)
    for finding in done.examples:
        console.print(f"[red]{finding.wrong}[/]: {finding.device} seq {finding.seq}: {finding.detail}", highlight=False)
    if account.wrong > len(done.examples):
        console.print(f"… and {account.wrong - len(done.examples):,} more")


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(
        "python -m loadtests.load.audit", description="Reconcile a load test's ledgers with the log of the service."
    )
    parser.add_argument("--ledger", type=Path, required=True, help="the directory of all workers' ledgers")
    parser.add_argument(
        "--url", default=os.environ.get(API_URL_VARIABLE, ""), help=f"the trace service (default: {API_URL_VARIABLE})"
    )
    parser.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE, ""),
        help=f"a token of the role admin; better given as {TOKEN_VARIABLE}, which lists of processes do not show",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=WAIT_SECONDS_DEFAULT,
        help="seconds that the log may take to catch up (%(default)g)",
    )
    given = parser.parse_args(arguments)
    if not given.url or not given.token:
        parser.error(f"name the trace service and a token: --url or {API_URL_VARIABLE}, and {TOKEN_VARIABLE}")
    try:
        done = audit(given.ledger, OperatorApi(given.url, given.token), wait_seconds=given.wait, clock=time.monotonic)
    except (ApiFailed, LedgerBroken, NothingToAudit) as error:
        print(error, file=sys.stderr)
        return UNTOLD
    print(summary_line(done).decode())
    show(done, Console())
    return WRONG if done.account.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
