"""What is kept, what a stolen key changes and which scans are doubtful, from the command line."""

import json

import pytest
from click.testing import CliRunner

from app.commands import retention
from app.supervisor import Embedded
from storage.retention_runs import RetentionStatus
from tests.app.conftest import truyvet
from tracing.retention.terms import TERMS_DEFAULT
from tracing.routes.retention import Preview, RetentionView

PURPOSE = ("--purpose", "Checking what a stolen scanner did")


def run(service: Embedded, *arguments: str, code: int = 0) -> str:
    done = truyvet(service.settings, *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_key_is_looked_at_revoked_and_restored(service: Embedded) -> None:
    truyvet(service.settings, "place", "import", "-", stdin="id,name,opens,closes\nmarket,Chợ,05:00,20:30\n")
    key = str(service.settings.data_dir / "gate.pem")
    run(service, "device", "enrol", "gate", "--place", "market", "--key-file", key)
    assert "is not revoked" in run(service, "device", "restore", "gate.1", code=1)
    assert "No key is called 'gate.2'" in run(service, "device", "restore", "gate.2", code=1)
    assert "say from when on it would be" in run(service, "device", "impact", "gate.1", *PURPOSE, code=1)
    said = run(service, "device", "revoke", "gate.1", "--from", "1d", "--dry-run", *PURPOSE)
    assert "would be revoked" in said
    assert "0 of 0 saved traces changed" in said
    assert "say with --purpose why" in run(service, "device", "revoke", "gate.1", "--dry-run", code=2)
    run(service, "device", "revoke", "gate.1", "--from", "1d")
    page = json.loads(truyvet(service.settings, "device", "impact", "gate.1", "--json", *PURPOSE).stdout)
    assert (page["revoked"], page["quarantined"]["scans"], page["traces"]) == (True, 0, [])
    assert "is trusted again" in run(service, "device", "restore", "gate.1", "--reason", "found")
    assert "in force" in run(service, "device", "list")


def test_what_is_kept_and_what_would_go(service: Embedded) -> None:
    assert "Scans are kept for 28 days; now: all." in run(service, "retention", "show")
    shown = json.loads(truyvet(service.settings, "retention", "show", "--json").stdout)
    assert shown["terms"] == {"scan_days": 28, "trace_days": 28}
    said = run(service, "retention", "run", "--dry-run")
    assert "0 partitions with 0 rows (0.0 MB) and 0 saved traces would go" in said
    assert json.loads(truyvet(service.settings, "retention", "run", "--dry-run", "--json").stdout)["rows"] == 0


def test_a_case_is_closed_and_reopened(service: Embedded) -> None:
    run(service, "case", "confirm", "00" * 16, "--id", "f0-1", *PURPOSE)
    assert "Its saved traces go after" in run(service, "case", "close", "f0-1", *PURPOSE)
    assert "is open: its saved traces stay" in run(service, "case", "reopen", "f0-1", *PURPOSE)
    assert "No case has this id" in run(service, "case", "close", "f0-2", *PURPOSE, code=1)


def test_doubts_need_a_trace_or_a_device(service: Embedded) -> None:
    assert "Give --trace or --device" in run(service, "doubts", *PURPOSE, code=2)
    assert "No device has this id" in run(service, "doubts", "--device", "none", *PURPOSE, code=1)
    assert "No saved trace has this id" in run(service, "doubts", "--trace", "none", *PURPOSE, code=1)


def test_a_run_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against an answering service's words alone: a real run waits a minute for questions under way."""
    said = iter(
        [
            None,
            RetentionStatus(id="r", state="running", step="settle", began=1),
            RetentionStatus(id="r", state="running", step="drop_days", began=1, partitions=1),
            RetentionStatus(
                id="r", state="done", step="compact", began=1, ended=2, partitions=3, rows=9, held=("20211018",)
            ),
        ]
    )

    class Service:
        def retention_preview(self) -> Preview:
            return Preview(kept_from=0, partitions=[], rows=9, bytes=5_000_000, traces=1)

        def run_retention(self) -> RetentionStatus:
            return RetentionStatus(id="r", state="running", step="asked", began=1)

        def retention(self) -> RetentionView:
            view = RetentionView(
                terms=TERMS_DEFAULT, kept_from=0, tables=[], partitions=[], traces_over=0, latest=next(said)
            )
            return view

    monkeypatch.setattr(retention, "api_client", lambda settings: Service())
    monkeypatch.setattr(retention, "POLL_SECONDS", 0.0)
    refused = CliRunner().invoke(retention.retention, ["run"], input="n\n")
    assert refused.exit_code == 1
    done = CliRunner().invoke(retention.retention, ["run", "--yes"])
    assert done.exit_code == 0
    assert "3 partitions with 9 rows" in done.output
    assert "days 20211018 stay" in done.output
