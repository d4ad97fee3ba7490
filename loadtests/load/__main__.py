"""`make load`: a load test from beginning to end: a service, Locust, the audit; says what came of it.

Without an address it starts a service of its own on this machine, and removes its data when all is well.
"""

import argparse
import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from loadtests.ending import exit_when_told
from loadtests.load import audit
from loadtests.load.options import (
    API_URL_VARIABLE,
    BACKLOG_SCANS_DEFAULT,
    BATCH_SCANS_DEFAULT,
    RUN_SECONDS_DEFAULT,
    TOKEN_VARIABLE,
    USERS_DEFAULT,
)
from loadtests.load.shapes import Shape
from loadtests.load.swarm import Plan, Report, run_locust
from loadtests.load.target import Target, own_service

DIRECTORY_DEFAULT: Final = Path("truyvet-load")
SERVICE_DATA: Final = "service"
FAILED: Final = 1


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit code: 0 where no request failed and the audit found nothing."""
    given = _arguments(arguments)
    exit_when_told()
    plan = Plan(
        shape=Shape(given.shape),
        users=given.users,
        seconds=given.seconds,
        batch_scans=given.batch_scans,
        backlog_scans=given.backlog_scans,
        workers=given.workers,
    )
    report = Report((given.directory / time.strftime("%Y%m%dT%H%M%S")).absolute())
    report.directory.mkdir(parents=True)
    service_data = report.directory / SERVICE_DATA
    with contextlib.ExitStack() as stack:
        target = _remote(given) or stack.enter_context(own_service(service_data))
        print(f"{plan.shape}: up to {plan.users} users for {plan.seconds} s on {target.ingest_url}", flush=True)
        locust_code = run_locust(target, plan, report)
        audit_code = audit.main(["--ledger", str(report.ledger), "--url", target.api_url, "--token", target.token])
    print(f"report  {report.html}\ntables  {report.csv_prefix}_*.csv\nledger  {report.ledger}")
    if locust_code:
        print(f"FAILED: requests failed; the report names them (Locust ended with {locust_code}).")
    if audit_code:
        print("FAILED: the audit. Everything is kept beside the report.")
    elif service_data.is_dir():
        shutil.rmtree(service_data)
    return FAILED if locust_code or audit_code else 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m loadtests.load", description="Run a load test and audit it.")
    parser.add_argument("--shape", choices=[shape.value for shape in Shape], default=Shape.STEADY.value)
    parser.add_argument("--seconds", type=int, default=RUN_SECONDS_DEFAULT)
    parser.add_argument("--users", type=int, default=USERS_DEFAULT)
    parser.add_argument("--batch-scans", type=int, default=BATCH_SCANS_DEFAULT, help="most scans of a gateway's batch")
    parser.add_argument("--backlog-scans", type=int, default=BACKLOG_SCANS_DEFAULT, help="of each scanner in a storm")
    parser.add_argument(
        "--workers", type=int, default=0, help="Locust's workers on this machine; 0: one process does all"
    )
    parser.add_argument("--url", default="", help="a running service's ingest edge; left out, one is started here")
    parser.add_argument("--api-url", default=os.environ.get(API_URL_VARIABLE, ""), help="its trace service")
    parser.add_argument("--codes", type=Path, help="its people's codes, made by python -m loadtests.load.codes")
    parser.add_argument("--directory", type=Path, default=DIRECTORY_DEFAULT, help="where reports go")
    given = parser.parse_args(arguments)
    if given.url and not os.environ.get(TOKEN_VARIABLE):
        parser.error(f"set {TOKEN_VARIABLE} to a token of the role admin on {given.url}")
    return given


def _remote(given: argparse.Namespace) -> Target | None:
    """The service that was named; None where one is to be started."""
    if not given.url:
        return None
    api_url, token = given.api_url or given.url, os.environ[TOKEN_VARIABLE]
    return Target(ingest_url=given.url, api_url=api_url, token=token, codes=given.codes)


if __name__ == "__main__":
    sys.exit(main())
