"""Names and the record of looks as somebody uses them: the commands against a running service."""

import re
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from app.cli import cli
from app.clock import now_ms
from app.key_file import load
from app.settings import Settings
from app.stream_client import stream_client
from app.supervisor import Embedded
from events.audit import START, AuditEvent, Head, SavedAnswer, packed
from keys.pseudonyms import pseudonym_of_citizen
from storage.audit_stream import AuditStream
from tests.app.conftest import answers, settings_in, until
from tracing.audit_writer import AuditWriter, Draft

CITIZEN: Final = "001201000001"
PURPOSE: Final = ("--purpose", "a test of the commands")


def command(settings: Settings, *arguments: str, stdin: str = "", **variables: str) -> Result:
    """A command in this process: starting one for each of them would take most of the time."""
    return CliRunner().invoke(cli, arguments, input=stdin, env=settings.environment() | variables)


def run(settings: Settings, *arguments: str, stdin: str = "", exit_code: int = 0, **variables: str) -> str:
    done = command(settings, *arguments, stdin=stdin, **variables)
    assert done.exit_code == exit_code, (done.output, done.exception)
    return done.stdout


def traced(settings: Settings, subject: str) -> str:
    """A saved trace that names somebody, as a trace process leaves it; nobody was scanned here."""
    answer = f'{{"contacts":[{{"subject":"{subject}"}}]}}'.encode()
    saved = SavedAnswer(
        id="0a" * 16, asked_at=now_ms(), actor="A", fingerprint="0a" * 32, question=b"{}", answer=answer
    )
    event = AuditEvent(
        number=0,
        at=now_ms(),
        actor="A",
        token="0a",
        role="analyst",
        action="trace-asked",
        object=saved.id,
        purpose=PURPOSE[1],
        digest=saved.digest,
    )

    def resumed(_: Head) -> Draft:
        raise AssertionError("nothing was forgotten")

    with stream_client(settings) as client:
        AuditWriter(AuditStream(client), lambda: START, resumed).append([Draft(event, packed(saved))])
    return saved.id


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("names"), TRUYVET_FOUR_EYES="true")


def test_from_a_line_list_to_a_name_and_to_its_end(settings: Settings, tmp_path: Path) -> None:
    """One service for the whole story: a line list, four eyes, an audit, a rotation, an erasure."""
    with Embedded(settings):
        subject = pseudonym_of_citizen(CITIZEN, load(settings.keys_path).pseudonym_key).hex()
        lists = tmp_path / "contacts.csv"
        lists.write_text(f"name,citizen_number,phone\nNguyễn Văn An,{CITIZEN},+84 24 3333 0000\nBình,12,\n", "utf-8")
        assert "1 person would be entered" in run(
            settings, "people", "import", str(lists), "--dry-run", *PURPOSE, exit_code=1
        )
        done = command(settings, "people", "import", str(lists), *PURPOSE)
        assert "line 3, column citizen_number: a citizen number has 12 digits" in done.stderr
        assert "1 person entered" in done.stdout
        assert CITIZEN not in done.stdout + done.stderr

        run(settings, "case", "confirm", "--cccd", "--id", "f0-1", *PURPOSE, stdin=CITIZEN)
        trace = traced(settings, subject)
        request = run(settings, "reveal", "ask", trace, subject, *PURPOSE).strip()
        assert command(settings, "reveal", "approve", request).exit_code == 1
        colleague = run(settings, "token", "create", "A colleague", "--role", "analyst").strip()
        assert request in run(settings, "reveal", "list", "--state", "pending", TRUYVET_TOKEN=colleague)
        assert "approved" in run(settings, "reveal", "approve", request, TRUYVET_TOKEN=colleague)
        assert "Nguyễn Văn An" in run(settings, "reveal", "open", request, "--csv")

        log = run(settings, "people", "access-log", "--cccd", *PURPOSE, stdin=CITIZEN)
        actions = re.findall(
            r"person-revealed|reveal-approved|reveal-asked|trace-asked|case-created|names-imported", log
        )
        assert actions == [
            *("person-revealed", "reveal-approved", "reveal-asked"),
            # The dry run looked them up as well.
            *("trace-asked", "case-created", "names-imported", "names-imported"),
        ]
        kept = tmp_path / "head.json"
        kept.write_text(run(settings, "audit", "head"), "utf-8")
        assert "person-revealed" in run(settings, "audit", "list")
        assert "hold" in run(settings, "audit", "verify", "--checkpoint", str(kept), "--answers")
        kept.write_text(kept.read_text("utf-8").replace('"number":', '"number":1'), "utf-8")
        assert command(settings, "audit", "verify", "--checkpoint", str(kept)).exit_code == 1

        run(settings, "keys", "rotate")
        until(lambda: command(settings, "keys", "retire-directory").exit_code == 0)
        assert [key.kid for key in load(settings.keys_path).directory_keys] == [2]
        until(lambda: answers(f"{settings.api}/readyz"))
        until(lambda: "Nguyễn Văn An" in command(settings, "reveal", "open", request, "--csv").stdout)

        assert run(settings, "people", "erase", "--cccd", "--yes", *PURPOSE, stdin=CITIZEN) == "Erased.\n"
        assert "Nguyễn" not in run(settings, "reveal", "open", request, "--csv")
        run(settings, "people", "import", str(lists), *PURPOSE, exit_code=1)
        assert "Nguyễn" not in run(settings, "reveal", "open", request, "--csv")
        assert "may be entered" in run(settings, "people", "readmit", "--cccd", *PURPOSE, stdin=CITIZEN)
        assert "hold" in run(settings, "audit", "verify")
