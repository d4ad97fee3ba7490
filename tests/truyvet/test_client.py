"""The client and the command against a whole running system; the examples of the pages as they stand."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from app.cli import cli
from events.cases import Case
from events.control import CaseConfirmed
from events.scans import Kind, Scan
from tests.app.conftest import truyvet
from tests.journey.driver import System
from tracing.exports.formats import Format
from truyvet import Client, Invalid, NotFound

DOCS: Final = Path(__file__).parents[2] / "docs"
PURPOSE: Final = "Tracing the cluster of case 417"
HOUR: Final = 3_600_000
CASE: Final = "hn-2021-0417"
NOBODY: Final = "0" * 32
F0, F1, F2 = (bytes([number]) * 16 for number in (1, 2, 3))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A service in which the case met somebody at the market, who met somebody else at the café an hour later."""
    with System(tmp_path_factory.mktemp("client")) as system:
        now = int(time.time() * 1000)
        start = now - 20 * HOUR
        scanners = [system.scanner("market"), system.scanner("cafe")]
        codes = [system.code(one, start - HOUR, now + HOUR) for one in (F0, F1, F2)]
        visits: list[list[tuple[int, Kind, str]]] = [
            [(0, Kind.IN, codes[0]), (1, Kind.IN, codes[1]), (2 * HOUR, Kind.OUT, codes[0])],
            [(3 * HOUR, Kind.IN, codes[1]), (3 * HOUR, Kind.IN, codes[2]), (4 * HOUR, Kind.OUT, codes[2])],
        ]
        for scanner, made in zip(scanners, visits, strict=True):
            scans = [Scan(seq, start + at, kind, code=code) for seq, (at, kind, code) in enumerate(made, start=1)]
            headers, body = scanner.request(scans)
            assert system.client.post(headers, body).accepted == len(made)
        case = Case(
            id=CASE, subject=F0.hex(), confirmed_at=now - HOUR, infectious_from=start - HOUR, infectious_to=now - HOUR
        )
        system.register([CaseConfirmed(case)])
        system.await_log()
        yield system


@pytest.fixture(scope="module")
def client(system: System) -> Client:
    return Client(system.settings.api, str(system.embedded.token))


@pytest.fixture(scope="module")
def trace(client: Client) -> str:
    return client.trace(cases=[CASE], depth=2, purpose=PURPOSE).id


def example(page: str, name: str) -> str:
    """The one fenced block of this name."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```\w+ {name}\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_page_s_example_runs_as_it_stands(system: System, tmp_path: Path) -> None:
    environment = {"TRUYVET_URL": system.settings.api, "TRUYVET_TOKEN": str(system.embedded.token)}
    done = subprocess.run(
        [sys.executable, "-c", example("client.md", "client-example")],
        env=os.environ | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 contacts, trace ")
    assert F1.hex() in done.stdout
    assert "0 left out" in done.stdout
    assert done.stdout.rstrip().endswith("-> Check the case id or the pseudonym.")
    assert zipfile.is_zipfile(tmp_path / "cluster.zip")


def test_tables_say_what_the_answer_says(client: Client, trace: str) -> None:
    answer = json.loads(client.answer(trace, purpose=PURPOSE))
    people = client.linelist(trace, purpose=PURPOSE)
    assert people.column("id").to_pylist() == [F0.hex(), F1.hex(), F2.hex()]
    assert people.column("role").to_pylist() == ["F0", "F1", "F2"]
    assert people.column("first_ms").to_pylist()[1:] == [contact["first"] for contact in answer["contacts"]]
    met = client.contacts(trace, purpose=PURPOSE).to_pandas()
    assert met["start"].dt.tz is not None
    assert met.groupby("to")["seconds"].count().to_dict() == {
        contact["subject"]: len(contact["encounters"]) for contact in answer["contacts"]
    }
    read = client.saved_trace(trace, purpose=PURPOSE)
    assert [contact.seconds for contact in read.contacts] == [contact["seconds"] for contact in answer["contacts"]]


def test_lists_cases_and_stays(client: Client, trace: str) -> None:
    assert trace in {saved.id for saved in client.saved_traces()}
    assert [case.id for case in client.cases()] == [CASE]
    case = client.case(CASE, purpose=PURPOSE)
    window = (case.infectious_from, case.infectious_to)
    stays = client.stays(F0.hex(), *window, purpose=PURPOSE)
    table = client.stays_table(F0.hex(), *window, purpose=PURPOSE)
    assert stays
    assert table.column("start_ms").to_pylist() == [stay.start for stay in stays]
    assert set(table.column("place").to_pylist()) == {"market"}
    assert client.stays_table("0" * 32, *window, purpose=PURPOSE).num_rows == 0


def test_refusals_are_told_apart(client: Client, trace: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as invalid:
        client.trace(cases=[CASE], depth=99, purpose=PURPOSE)
    assert invalid.value.problem.pointer == "/depth"
    with pytest.raises(NotFound):
        client.export(trace, "pdf", tmp_path / "a.zip", purpose=PURPOSE)
    assert list(tmp_path.iterdir()) == []


def test_a_case_s_days_are_saved(client: Client, tmp_path: Path) -> None:
    manifest = client.export_timeline(CASE, tmp_path / "days.zip", purpose=PURPOSE)
    assert (manifest.case, manifest.files[0].name) == (CASE, "timeline.ics")


def test_the_command_s_examples_run_as_they_stand(system: System, trace: str, tmp_path: Path) -> None:
    """The page's placeholders are ids of this system; every file is the owner's alone."""
    page = (DOCS / "exports.md").read_text(encoding="utf-8")
    commands = re.findall(r"^truyvet (export .*)$", page, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        text = command.replace("9f0c2a9be1d34c7788aa01b2c3d4e5f6", trace).replace("TRACE", trace)
        arguments = shlex.split(text)
        out = tmp_path / arguments[arguments.index("--out") + 1]
        arguments[arguments.index("--out") + 1] = str(out)
        done = truyvet(system.settings, *arguments)
        assert done.returncode == 0, done.stderr
        assert "every file is as its manifest says" in done.stderr
    assert sorted(file.name for file in (tmp_path / "cluster").iterdir()) == [
        *("contacts.csv", "linelist.csv", "manifest.json", "read.R")
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "cluster").iterdir()} == {0o600}
    assert [file.name for file in (tmp_path / "days").iterdir() if file.suffix == ".ics"] == ["timeline.ics"]
    assert zipfile.is_zipfile(tmp_path / "both.zip")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_the_command_says_in_one_line_what_is_wrong(system: System, trace: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    elsewhere, purpose = ("--out", str(tmp_path / "x")), ("--purpose", PURPOSE)
    for arguments, text in (
        (elsewhere, "Give the ids of saved traces"),
        ((trace, "--case", CASE, *elsewhere), "Give the ids of saved traces"),
        ((trace, "--from", "3d", *elsewhere), "belong to --case"),
        ((trace, "--out", str(tmp_path / "full")), "is not empty"),
    ):
        used = CliRunner().invoke(cli, ["export", *arguments, *purpose], env=system.settings.process_environment())
        assert (used.exit_code, text in used.output) == (2, True), used.output
    done = truyvet(system.settings, "export", NOBODY, *elsewhere, *purpose)
    assert done.returncode == 1
    assert done.stderr.startswith("truyvet: There is nothing here — No saved trace has this id.")
    assert done.stderr.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("format", list(Format))
def test_every_format_is_described_on_the_page(format: Format) -> None:
    assert f"\n| `{format}` | " in (DOCS / "exports.md").read_text(encoding="utf-8")
