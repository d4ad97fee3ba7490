"""`make load` for real, a few seconds long: one process, many processes, and a service that runs elsewhere."""

import csv
import html.parser
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtests.load.options import TOKEN_VARIABLE
from loadtests.load.target import own_service

RUN_SECONDS_MAX = 120.0
SCANNERS = {"/v1/scans door", "/v1/scans gateway", "/v1/scans checkpoint"}
EVERYBODY = SCANNERS | {"/v1/scans phone"}
ANSWERS = re.compile(r"window\.templateArgs = (\{.*\})\s*\n")


class Tags(html.parser.HTMLParser):
    """The tags of a page that were opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.closed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more."""
        self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """One less."""
        self.closed.append(tag)


class Run:
    """A finished `python -m loadtests.load` and what it left behind."""

    def __init__(self, directory: Path, *, token: str = "", **options: object) -> None:
        command = [sys.executable, "-m", "loadtests.load", "--directory", str(directory)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={TOKEN_VARIABLE: token}
        )
        try:
            self.printed, _ = process.communicate(timeout=RUN_SECONDS_MAX)
        finally:
            process.terminate()
            process.wait(RUN_SECONDS_MAX)
        self.code = process.returncode
        (self.directory,) = directory.iterdir()

    @property
    def audit(self) -> dict[str, Any]:
        """The audit's summary."""
        (line,) = (line for line in self.printed.splitlines() if line.startswith('{"accepted"'))
        summary: dict[str, Any] = msgspec.json.decode(line)
        return summary

    @property
    def sent(self) -> set[str]:
        """The names under which Locust counted requests."""
        with (self.directory / "locust_stats.csv").open() as file:
            return {row["Name"] for row in csv.DictReader(file)}

    @property
    def report(self) -> dict[str, Any]:
        """What Locust's report shows, from a page that is whole."""
        page = (self.directory / "report.html").read_text(encoding="utf-8")
        tags = Tags()
        tags.feed(page)
        for tag in ("html", "head", "body"):
            assert (tags.opened.count(tag), tags.closed.count(tag)) == (1, 1)
        found = ANSWERS.search(page)
        assert found
        shown: dict[str, Any] = msgspec.json.decode(found[1])
        return shown

    @property
    def ledgers(self) -> list[Path]:
        """Those that hold something."""
        return [file for file in (self.directory / "ledger").iterdir() if file.stat().st_size]


def test_a_steady_run_of_one_process(tmp_path: Path) -> None:
    run = Run(tmp_path, seconds=6, users=13, batch_scans=100)
    assert run.code == 0, run.printed
    audit = run.audit
    assert (audit["lost"], audit["doubled"], audit["altered"]) == (0, 0, 0)
    # Locust may break a user off in the middle of a request when the run is over.
    assert 100 < audit["accepted"] <= audit["deliveries"] <= audit["accepted"] + audit["unanswered"]
    assert run.sent >= EVERYBODY
    assert {row["name"] for row in run.report["requests_statistics"]} >= EVERYBODY
    assert run.report["failures_statistics"] == []
    assert str(run.directory / "report.html") in run.printed
    assert not (run.directory / "service").exists()
    assert len(run.ledgers) == 1


def test_a_storm_of_two_workers(tmp_path: Path) -> None:
    run = Run(tmp_path, shape="reconnect-storm", workers=2, backlog_scans=1_200, seconds=8, users=16, batch_scans=50)
    assert run.code == 0, run.printed
    audit = run.audit
    assert (audit["lost"], audit["doubled"], audit["altered"]) == (0, 0, 0)
    assert audit["accepted"] > 4 * 1_200  # the backlogs of some
    assert run.sent >= EVERYBODY
    assert len(run.ledgers) == 2


def test_a_service_that_runs_elsewhere_needs_an_address_and_a_token(tmp_path: Path) -> None:
    with own_service(tmp_path / "service") as service:
        addresses = {"url": service.ingest_url, "api_url": service.api_url}
        run = Run(tmp_path / "good", token=service.token, seconds=4, users=9, **addresses)
        # A token of nobody: no run, no ledger worth the name, and it says why.
        refused = Run(tmp_path / "bad", token="tvt_nobody", seconds=4, **addresses)
    assert run.code == 0, run.printed
    assert (run.audit["lost"], run.audit["doubled"], run.audit["altered"]) == (0, 0, 0)
    assert run.sent >= SCANNERS
    assert "/v1/scans phone" not in run.sent  # without codes there is nothing on the walls
    assert service.token not in run.printed
    assert refused.code == 1
    assert "This token is unknown, expired or revoked" in refused.printed


@pytest.mark.parametrize("arguments", [["--url", "http://127.0.0.1:1"], ["--shape", "tsunami"]])
def test_what_cannot_be_run_is_refused_at_once(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "loadtests.load", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={}, timeout=RUN_SECONDS_MAX, check=False)
    assert done.returncode == 2
    assert TOKEN_VARIABLE in done.stderr or "tsunami" in done.stderr
