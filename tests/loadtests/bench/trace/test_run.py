"""The command itself: every bench runs for real, in small, and its answers are true."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtests.bench.trace import __main__ as command
from loadtests.bench.trace import compared
from loadtests.bench.trace.postgres import packaged
from loadtests.bench.trace.session import Session, quick, sizes_of
from loadtests.bench.trace.world import PROVINCES, new_country
from tests.loadtests.bench.lines import decoded
from tests.loadtests.bench.processes import running_on

RUN_SECONDS_MAX = 600
COMPARED = [name for name in command.BENCHES if name.startswith("postgres.")]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[bytes], Path]:
    """All benches, once, with their data in the directory."""
    directory = tmp_path_factory.mktemp("bench-trace")
    return benched(directory, tmp_path_factory.mktemp("kept")), directory


def benched(directory: Path, keep: Path, *names: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "loadtests.bench.trace", "--quick", "--dir", directory, "--keep", keep, *names],
        capture_output=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )


def test_every_bench_runs_and_its_checks_hold(done: tuple[subprocess.CompletedProcess[bytes], Path]) -> None:
    run, _ = done
    assert run.returncode == 0, run.stderr.decode()
    lines = [decoded(line) for line in run.stdout.splitlines()]
    expected = [name for name in command.BENCHES if packaged() is not None or name not in COMPARED]
    assert [line.bench for line in lines] == expected
    for line in lines:
        assert line.failures == []
        assert line.value > 0
        assert line.baseline_value > 0
        assert line.ratio == pytest.approx(line.value / line.baseline_value)
        assert (line.met is None) == (line.bench in COMPARED)
        assert line.machine["cores"] > 0


def test_people_get_a_table(done: tuple[subprocess.CompletedProcess[bytes], Path]) -> None:
    run, _ = done
    table = run.stderr.decode().rpartition("Benchmarks")[2]
    assert all(decoded(line).bench in table for line in run.stdout.splitlines())


def test_nothing_stays_behind(done: tuple[subprocess.CompletedProcess[bytes], Path]) -> None:
    _, directory = done
    assert list(directory.iterdir()) == []
    assert running_on(directory) == []


def test_a_kept_service_is_used_again(done: tuple[subprocess.CompletedProcess[bytes], Path]) -> None:
    run, directory = done
    again = benched(directory, Path(run.args[-1]), "trace.under_load")
    assert again.returncode == 0, again.stderr.decode()
    assert b"into the log" in run.stderr
    assert b"into the log" not in again.stderr
    assert decoded(again.stdout).failures == []


def test_a_service_of_another_size_is_not_used(
    done: tuple[subprocess.CompletedProcess[bytes], Path],
) -> None:
    run, directory = done
    asked = CliRunner().invoke(command.main, ["--dir", str(directory), "--keep", run.args[-1], "trace.one"])
    assert asked.exit_code == 1
    assert "holds something else than 1,000,000 stays" in asked.output


def test_where_postgresql_is_missing_it_is_said_and_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compared, "packaged", lambda: None)
    said: list[str] = []
    with Session(quick(), tmp_path, said.append) as session:
        assert [command.BENCHES[name](session) for name in COMPARED] == [None] * len(COMPARED)
    assert any("apt-get install postgresql" in text for text in said)


@pytest.mark.parametrize("rows", [1_000_000, 100_000_000])
def test_people_and_places_go_with_the_rows(rows: int) -> None:
    sizes, country = sizes_of(rows), new_country(rows=rows, end_ms=0)
    assert country.people * PROVINCES == rows // 50
    assert country.places * PROVINCES == pytest.approx(rows // 500, rel=0.01)
    assert sizes.many == (10_000 if rows >= 10_000_000 else rows // 2_000)


def test_too_few_rows_are_refused() -> None:
    asked = CliRunner().invoke(command.main, ["--rows", "100"])
    assert asked.exit_code == 2
