"""The commands as somebody uses them: real processes against a running service."""

import base64
import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import COMMANDS, cli
from app.clock import now_ms
from app.commands.health import CHARACTERS_A_REQUEST, LINES_A_REQUEST, pieces
from app.scanner import load_private_key
from app.settings import Settings
from app.supervisor import Embedded
from tests.app.conftest import answers, settings_in, truyvet, until

PURPOSE = ("--purpose", "a test of the commands")
CITIZEN = "001201000001"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"], env={"TRUYVET_INGEST_PORT": ""})
    assert result.exit_code == 0, result.output
    assert "Example:" in result.output


def test_help_imports_no_command() -> None:
    code = (
        "import sys; sys.argv = ['truyvet', '--help']\n"
        "from app.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'redis', 'litestar', 'clickhouse_connect', 'cryptography', 'rich', 'uvicorn'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_wrong_setting_is_one_line(settings: Settings) -> None:
    done = truyvet(settings, "settings", TRUYVET_INGEST_PORT="x")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "TRUYVET_INGEST_PORT=x" in done.stderr


def test_settings_are_printed_without_secrets(settings: Settings) -> None:
    done = truyvet(settings, "settings", TRUYVET_TOKEN="tvt_secret")
    assert done.returncode == 0
    assert f"TRUYVET_INGEST_PORT={settings.ingest_port}" in done.stdout
    assert "tvt_secret" not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("place", "list"),
        ("token", "list"),
        ("trace", "--case", "x", *PURPOSE),
        ("subject", "add"),
        ("keys", "public"),
        ("sink",),
    ],
)
def test_without_a_service_the_advice_is_one_line(settings: Settings, arguments: tuple[str, ...]) -> None:
    done = truyvet(settings, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("truyvet: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_doctor_without_a_service_fails_with_advice(settings: Settings) -> None:
    done = truyvet(settings, "doctor")
    assert done.returncode == 1
    assert "truyvet up" in done.stdout


class Door:
    """A running service with a market and its scanner."""

    def __init__(self, service: Embedded, directory: Path) -> None:
        self.service = service
        self.settings = service.settings
        self.directory = directory
        self.key = directory / "gate.pem"

    def run(self, *arguments: str, stdin: str = "", exit_code: int = 0, **variables: str) -> str:
        done = truyvet(self.settings, *arguments, stdin=stdin, **variables)
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout

    def scan(self, *arguments: str, stdin: str = "", exit_code: int = 0, **variables: str) -> str:
        return self.run(*self.scanning(*arguments), stdin=stdin, exit_code=exit_code, **variables)

    def scanning(self, *arguments: str) -> tuple[str, ...]:
        return ("scan", "--key", str(self.key), "--keyid", "gate-1.1", *arguments)

    def person(self, *arguments: str, stdin: str = "") -> tuple[str, str]:
        lines = self.run("subject", "add", *arguments, stdin=stdin).splitlines()
        return lines[0].split()[1], lines[1].split()[1]


@pytest.fixture(scope="module")
def door(service: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Door:
    one = Door(service, tmp_path_factory.mktemp("door"))
    places = one.directory / "places.csv"
    places.write_text("id,name,category,parent\nrow-a,Dãy A,market,market\nmarket,Chợ Bến Thành,market,\n", "utf-8")
    assert "2 new" in one.run("place", "import", str(places))
    assert "2 as they were" in one.run("place", "import", str(places))
    enrolled = one.run(
        *("device", "enrol", "gate-1", "--place", "market", "--may-citizen-number", "--key-file", str(one.key))
    )
    assert enrolled.strip() == "gate-1.1"
    return one


def test_the_private_key_is_its_owner_s_and_never_overwritten(door: Door) -> None:
    assert stat.S_IMODE(door.key.stat().st_mode) == 0o600
    before = door.key.read_bytes()
    done = truyvet(door.settings, "device", "enrol", "gate-x", "--place", "market", "--key-file", str(door.key))
    assert done.returncode == 1
    assert door.key.read_bytes() == before
    assert "gate-x" not in door.run("device", "list")


def test_a_bad_line_imports_nothing(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("id,name\ngood,Good\nBAD,Bad\n")
    done = truyvet(door.settings, "place", "import", str(file))
    assert done.returncode == 1
    assert "bad.csv:3: id" in done.stderr
    assert "good" not in door.run("place", "list")


def test_the_same_citizen_is_the_same_pseudonym(door: Door) -> None:
    first, _ = door.person("--cccd", stdin=CITIZEN + "\n")
    second, _ = door.person("--cccd", stdin=CITIZEN + "\n")
    assert first == second != door.person()[0]
    done = truyvet(door.settings, "subject", "add", "--cccd", stdin="999\n")
    assert done.returncode == 1
    assert "999" not in done.stderr


def test_from_scan_to_contact_to_proof(door: Door) -> None:
    case_of, case_code = door.person()
    contact_of, contact_code = door.person()
    said = door.scan("in", case_code, contact_code)
    assert said.count("accepted") == 2
    door.run("case", "confirm", case_of, "--id", "f0-1", "--from", "2h", "--to", "now", *PURPOSE)
    asked = ("trace", "--case", "f0-1", "--to", "now", "--min", "0", *PURPOSE)
    answer = json.loads(door.run(*asked, "--json"))
    assert [one["subject"] for one in answer["contacts"]] == [contact_of]
    (row,) = csv.DictReader(io.StringIO(door.run(*asked, "--csv")))
    assert (row["subject"], row["index"], row["place"]) == (contact_of, case_of, "market")
    assert contact_of in door.run(*asked)
    assert "market" in door.run("stays", case_of, *PURPOSE)
    device, seq = answer["contacts"][0]["encounters"][0]["stay"]["scans"][0]
    assert door.run("prove", device, str(seq), *PURPOSE).startswith("proven")
    rebuilt = door.run("rebuild")
    assert rebuilt.count(": equal") == 3
    assert "✗" not in door.run("doctor")


def test_contacts_become_f1_with_what_is_known_of_their_health(door: Door, tmp_path: Path) -> None:
    case_of, case_code = door.person()
    contact_of, contact_code = door.person()
    door.scan("in", case_code, contact_code)
    door.run("case", "confirm", case_of, "--id", "f0-2", "--from", "2h", "--to", "now", *PURPOSE)
    trace = json.loads(door.run("trace", "--case", "f0-2", "--to", "now", "--min", "0", *PURPOSE, "--json"))
    assert contact_of in {one["subject"] for one in trace["contacts"]}
    assert "declared f1" in door.run("people", "contacts", trace["id"], "--days", "14", *PURPOSE)
    rows = list(csv.DictReader(io.StringIO(door.run("people", "quarantine", "--state", "f1", "--csv", *PURPOSE))))
    assert (contact_of, trace["id"], "no") in {(row["subject"], row["source"], row["overdue"]) for row in rows}
    assert case_of in door.run("people", "quarantine", "--state", "f0", *PURPOSE)
    file = tmp_path / "tests.csv"
    good = f"{contact_of},test,2021-10-20,RT-PCR,negative,hn-laboratory,1"
    bad = f"{contact_of},test,2021-13-20,RT-PCR,negative,hn-laboratory,2"
    file.write_text(f"subject,kind,day,product,result,source,record\n{good}\n{bad}\n", "utf-8")
    done = truyvet(door.settings, "health", "import", str(file), *PURPOSE)
    assert (done.returncode, done.stderr) == (1, "line 3, column day: a day is written YYYY-MM-DD\n")
    assert done.stdout.startswith("1 line kept")
    table = door.run("trace", "--case", "f0-2", "--to", "now", "--min", "0", *PURPOSE)
    (row_of,) = [line for line in table.splitlines() if contact_of in line]
    assert re.search(r"\bf1\b.*negative, RT-PCR, 2021-10-20", row_of)
    said = door.run("people", "status", contact_of, *PURPOSE)
    assert said.startswith("f1 since")
    assert "RT-PCR" in said
    door.run("people", "declare", "released", contact_of, "--order", "QD-1", *PURPOSE)
    assert door.run("people", "status", contact_of, *PURPOSE).startswith("released since")
    assert re.search(r"^released +[1-9]", door.run("people", "counts"), re.MULTILINE)
    assert "record" in door.run("health", "columns")


def test_a_long_file_travels_in_pieces_that_know_their_lines() -> None:
    lines = [f"{number},x\n" for number in range(2 * LINES_A_REQUEST + 5)]
    found = list(pieces(io.StringIO("a,b\n" + "".join(lines))))
    assert [before for before, _ in found] == [0, LINES_A_REQUEST, 2 * LINES_A_REQUEST]
    assert all(piece.startswith("a,b\n") for _, piece in found)
    assert [line for _, piece in found for line in piece.splitlines(keepends=True)[1:]] == lines
    wide = "x" * (CHARACTERS_A_REQUEST // 2) + "\n"
    assert [before for before, _ in pieces(io.StringIO("a\n" + wide * 3))] == [0, 1, 2]
    assert list(pieces(io.StringIO(""))) == [(0, "")]


def test_what_if_and_what_since(door: Door) -> None:
    case_of, case_code = door.person()
    contact_of, contact_code = door.person()
    late_of, late_code = door.person()
    door.scan("in", case_code, contact_code)
    door.run("case", "confirm", case_of, "--id", "f0-since", "--from", "2h", "--to", "now", *PURPOSE)
    soon = str(now_ms() + 3_600_000)
    asked = ("--case", "f0-since", "--to", soon, *PURPOSE)
    before = json.loads(door.run("trace", *asked, "--min", "0", "--preset", "fifteen-minutes", "--job", "--json"))
    contacts = {one["subject"] for one in before["contacts"]}
    assert contact_of in contacts, "others were at the market in other tests"
    assert (before["question"]["preset"], before["question"]["min_seconds"]) == ("fifteen-minutes", 0)
    door.scan("in", late_code)
    said = door.run("trace", "diff", before["id"], *PURPOSE)
    assert "1 added, 0 removed" in said
    assert late_of in said
    found = json.loads(door.run("trace", "diff", before["id"], "--min", "36000", "--json", *PURPOSE))
    assert {one["subject"] for one in found["removed"]} == contacts
    assert "min_seconds" in found["parameters"]
    assert found["before"]["trace"] in door.run("trace", "diff", before["id"], found["after"]["trace"], *PURPOSE)
    swept = ("trace", "sweep", *asked, "--min", "0,36000", "--lag", "0")
    assert f"{len(contacts) + 1} (100% assumed)" in door.run(*swept)
    (first, _) = csv.DictReader(io.StringIO(door.run(*swept, "--csv")))
    assert first["contacts"] == first["open_contacts"] == str(len(contacts) + 1)
    assert "Corona-Warn-App server" in door.run("trace", "presets")
    (job,) = json.loads(door.run("trace", "jobs", "--json"))["items"]
    assert (job["state"], job["trace"]) == ("done", before["id"])
    assert before["id"] in door.run("trace", "jobs", job["id"])


def test_a_command_of_trace_that_is_asked_wrongly_is_a_usage_error(settings: Settings) -> None:
    for arguments, said in (
        (("--case", "x", "presets"), "belong behind presets"),
        (("diff", "A", "B", "--lag", "5", *PURPOSE), "not both"),
        (("sweep", "--case", "x", "--min", "5,x", *PURPOSE), "whole seconds"),
        (("sweep", *PURPOSE), "Whom?"),
        (("--case", "x", "--dwell", "moon=5", *PURPOSE), "category"),
        (("jobs", "--cancel"), "Which?"),
    ):
        done = truyvet(settings, "trace", *arguments, TRUYVET_TOKEN="tvt_x")
        assert done.returncode == 2, done.stderr
        assert said in done.stderr


def test_a_problem_is_title_detail_and_action(door: Door) -> None:
    done = truyvet(door.settings, "trace", "--case", "nobody", *PURPOSE)
    assert done.returncode == 1
    assert "Nothing is known of this subject" in done.stderr
    assert "Check the case id" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_refusal_gets_a_word(door: Door) -> None:
    said = door.scan("in", "TV1.nonsense", exit_code=1)
    assert "bad_code: this code is damaged" in said


def test_a_bad_code_is_turned_away_offline(door: Door) -> None:
    issuers = door.directory / "issuers.json"
    issuers.write_text(door.run("keys", "public"))
    _, code = door.person()
    forged = code[:-40] + ("A" if code[-40] != "A" else "B") + code[-39:]
    said = door.scan(
        *("--issuers", str(issuers), "--wait", "0", "in", forged),
        exit_code=1,
        TRUYVET_INGEST_URL="http://127.0.0.1:9",
    )
    assert "not taken, bad_code" in said
    assert "kept" not in said


def test_citizen_numbers_are_not_taken_from_the_command_line(door: Door) -> None:
    done = truyvet(door.settings, "scan", "--key", str(door.key), "--keyid", "gate-1.1", "--as", "cccd", "in", CITIZEN)
    assert done.returncode == 2
    assert CITIZEN not in done.stderr
    assert "accepted" in door.scan("--as", "cccd", "in", stdin=CITIZEN + "\n")


def test_scans_of_an_outage_arrive_in_order_after_kill_9(door: Door, tmp_path: Path) -> None:
    """The scanner is offline and killed while it takes scans; the next call sends every one that it promised."""
    _, code = door.person()
    queue = tmp_path / "queue"
    key = tmp_path / "gate-2.pem"
    door.run("device", "enrol", "gate-2", "--place", "market", "--key-file", str(key))
    call = ["scan", "--key", str(key), "--keyid", "gate-2.1", "--queue", str(queue), "in"]
    promised = 0
    for _ in range(3):
        scanner = subprocess.Popen(
            [sys.executable, "-P", "-m", "app.cli", *call],
            env=door.settings.process_environment() | {"TRUYVET_INGEST_URL": "http://127.0.0.1:9"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert scanner.stdin is not None
        assert scanner.stdout is not None
        scanner.stdin.write(f"{code}\n" * 10)
        scanner.stdin.flush()
        wanted = promised + 7
        while promised < wanted:
            line = scanner.stdout.readline().split()
            if line[1:] == ["kept"]:
                promised = int(line[0])
        os.kill(scanner.pid, signal.SIGKILL)
        scanner.communicate()
    said = door.run(*call)
    accepted = [int(line.split()[0]) for line in said.splitlines() if line.endswith("accepted")]
    assert accepted == list(range(1, len(accepted) + 1))
    assert len(accepted) >= promised
    assert "wait" not in door.run(*call)


def test_what_cannot_be_sent_is_kept_and_said(door: Door, tmp_path: Path) -> None:
    _, code = door.person()
    queue = ("--queue", str(tmp_path / "queue"))
    said = door.scan(*queue, "--wait", "0.2", "in", code, exit_code=3, TRUYVET_INGEST_URL="http://127.0.0.1:9")
    assert "1 scans wait" in said


def test_a_revoked_key_keeps_the_scans(door: Door, tmp_path: Path) -> None:
    _, code = door.person()
    key = tmp_path / "gate-3.pem"
    door.run("device", "enrol", "gate-3", "--place", "market", "--key-file", str(key))
    door.run("device", "revoke", "gate-3.1", "--from", "1h", "--reason", "stolen")
    said = door.run(
        *("scan", "--key", str(key), "--keyid", "gate-3.1", "--queue", str(tmp_path / "queue"), "in", code), exit_code=3
    )
    assert "revoked" in said
    new = tmp_path / "gate-3.2.pem"
    assert door.run("device", "rotate", "gate-3", "--key-file", str(new)).strip() == "gate-3.2"
    call = ("scan", "--key", str(new), "--keyid", "gate-3.2", "--queue", str(tmp_path / "queue"), "in")
    assert "accepted" in until(lambda: _said(door, call))


def _said(door: Door, call: tuple[str, ...]) -> str:
    done = truyvet(door.settings, *call)
    return done.stdout if done.returncode == 0 else ""


def test_a_token_works_until_it_is_revoked(door: Door) -> None:
    text = door.run("token", "create", "CDC desk 1", "--role", "viewer", "--days", "1").strip()
    asked = ("trace", "--case", "f0-1", *PURPOSE)
    assert "Your role may not do this" in truyvet(door.settings, *asked, TRUYVET_TOKEN=text).stderr
    assert text not in door.run("token", "list")
    door.run("token", "revoke", text.split("_")[1])
    until(lambda: "unknown, expired or revoked" in truyvet(door.settings, *asked, TRUYVET_TOKEN=text).stderr)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_codes_are_drawn(door: Door, tmp_path: Path, suffix: str) -> None:
    pseudonym, _ = door.person()
    for arguments in (("place", "market"), ("person", pseudonym)):
        out = tmp_path / (arguments[0] + suffix)
        out.touch(mode=0o644)
        door.run("qr", *arguments, "--out", str(out))
        assert out.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")
        assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_code_is_drawn_into_a_pipe(door: Door) -> None:
    """In a container there is no other way to take the picture out."""
    drawn = door.run("qr", "place", "market", "--out", "-")
    assert drawn.startswith("<?xml")
    assert drawn.rstrip().endswith("</svg>")


def test_places_come_through_a_pipe(door: Door) -> None:
    assert "1 new" in door.run("place", "import", "-", stdin="id,name\npiped,Chợ\n")


def test_rotated_keys_reach_the_running_service(door: Door) -> None:
    before = json.loads(door.run("keys", "public"))
    door.run("keys", "rotate")
    after = json.loads(door.run("keys", "public"))
    assert set(after) == {*before, str(len(before) + 1)}
    _, code = door.person()
    until(lambda: "accepted" in truyvet(door.settings, *_call(door, code)).stdout)


def _call(door: Door, code: str) -> tuple[str, ...]:
    return ("scan", "--key", str(door.key), "--keyid", "gate-1.1", "in", code)


def test_metrics_say_once_what_they_are(door: Door) -> None:
    """Prometheus refuses a Content-Type with a parameter given twice."""
    for address in (door.settings.ingest, door.settings.api):
        until(partial(answers, f"{address}/readyz"))
        with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
            assert answer.headers["Content-Type"].count("charset") == 1


def test_names_are_never_markup(door: Door, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("id,name\nodd,Cổng [/b] 2\n", encoding="utf-8")
    door.run("place", "import", str(tmp_path / "odd.csv"))
    door.run("token", "create", "[/b] Lan", "--role", "viewer")
    key = str(tmp_path / "odd.pem")
    door.run("device", "enrol", "odd-1", "--place", "odd", "--label", "[/b] odd", "--key-file", key)
    assert "Cổng [/b] 2" in door.run("place", "list")
    assert "[/b] Lan" in door.run("token", "list")
    assert "[/b] odd" in door.run("device", "list")


def test_a_lost_code_is_void_and_a_new_one_is_good(door: Door) -> None:
    pseudonym, lost = door.person()
    assert "accepted" in door.scan("in", lost)
    assert "void" in door.run("subject", "revoke", stdin=lost + "\n")
    until(lambda: "revoked_code" in truyvet(door.settings, *door.scanning("in", lost)).stdout)
    assert "void" in door.run("subject", "revoke", "--all", stdin=pseudonym + "\n")
    assert "accepted" in door.scan("in", door.person()[1])
    refused = truyvet(door.settings, "subject", "revoke", stdin="TV1.nonsense\n")
    assert refused.returncode == 1
    assert "bad_code" in refused.stderr
    assert "nonsense" not in refused.stderr


def test_one_key_pair_serves_one_device(door: Door, tmp_path: Path) -> None:
    door.run("device", "enrol", "first-1", "--place", "market", "--key-file", str(tmp_path / "first.pem"))
    public = load_private_key(tmp_path / "first.pem").public_key().public_bytes_raw()
    text = base64.b64encode(public).decode()
    again = truyvet(door.settings, "device", "enrol", "second-1", "--place", "market", "--public-key", text)
    assert again.returncode == 1
    assert "'first-1' signs with this key" in again.stderr
    assert "second-1" not in door.run("device", "list")


def test_of_several_revocations_the_earliest_counts(door: Door, tmp_path: Path) -> None:
    door.run("device", "enrol", "twice-1", "--place", "market", "--key-file", str(tmp_path / "twice.pem"))
    door.run("device", "revoke", "twice-1.1", "--from", "2021-10-21T08:00")
    for later in ((), ("--from", "2021-10-22T08:00")):
        again = truyvet(door.settings, "device", "revoke", "twice-1.1", *later)
        assert again.returncode == 1
        assert "2021-10-21 08:00:00" in again.stderr
    assert "revoked from 2021-10-21 08:00:00" in door.run("device", "list")
    assert "2021-10-20 08:00:00" in door.run("device", "revoke", "twice-1.1", "--from", "2021-10-20T08:00")
    assert "revoked from 2021-10-20 08:00:00" in door.run("device", "list")


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf"])
def test_a_trace_of_no_number_of_seconds_is_a_usage_error(settings: Settings, seconds: str) -> None:
    done = truyvet(settings, "trace", "--case", "x", "--min", seconds, *PURPOSE)
    assert done.returncode == 2
    assert "--min" in done.stderr


def test_a_device_s_bad_id_is_explained(door: Door) -> None:
    done = truyvet(door.settings, "device", "enrol", "Gate 1", "--place", "market")
    assert done.returncode == 1
    assert "'Gate 1' must be 1 to 48 of a-z" in done.stderr


def test_a_piped_line_is_never_the_purpose(door: Door) -> None:
    """It may be a citizen number, and purposes are kept."""
    done = truyvet(door.settings, "case", "confirm", "--cccd", stdin=f"{CITIZEN}\n{CITIZEN}\n")
    assert done.returncode == 2
    assert "--purpose" in done.stderr


def test_metrics_are_counted_without_names(door: Door) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())",
         f"{door.settings.ingest}/metrics"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 'truyvet_ingest_scans_total{verdict="accepted"}' in done.stdout
    assert "gate-1" not in done.stdout


def test_migrate_makes_keys_and_tables(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    first = truyvet(settings, "migrate")
    assert first.returncode == 0, first.stderr
    assert "0001_log.sql" in first.stdout
    assert "up to date" in truyvet(settings, "migrate").stdout
    assert stat.S_IMODE(settings.keys_path.stat().st_mode) == 0o600
