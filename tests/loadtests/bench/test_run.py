"""The command itself: every bench runs for real, in small."""

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from loadtests.bench import __main__ as command
from tests.loadtests.bench.lines import RESULT, Line, decoded
from tests.loadtests.bench.processes import running_on

RUN_SECONDS_MAX = 600
COMMAND = [sys.executable, "-m", "loadtests.bench", "--quick"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[bytes], Path]:
    """All benches, once; their lines are in `out.jsonl` of the directory too."""
    directory = tmp_path_factory.mktemp("bench")
    data = directory / "data"
    data.mkdir()
    done = subprocess.run(
        [*COMMAND, "--dir", str(data), "--out", str(directory / "out.jsonl")],
        capture_output=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    return done, directory


def test_every_bench_runs_and_its_checks_hold(quick: tuple[subprocess.CompletedProcess[bytes], Path]) -> None:
    done, directory = quick
    assert done.returncode == 0, done.stderr.decode()
    lines = [decoded(line) for line in done.stdout.splitlines()]
    assert [line.bench for line in lines] == list(command.BENCHES)
    assert all(sound(line) for line in lines)
    assert (directory / "out.jsonl").read_bytes() == done.stdout


def sound(line: Line) -> bool:
    """Whether the line says something, and nothing is wrong."""
    return (
        line.value > 0
        and line.baseline_value > 0
        and line.ratio == pytest.approx(line.value / line.baseline_value)
        and line.machine["cores"] > 0
        and {"python", "valkey", "chdb", "truyvet"} <= set(line.versions)
        and line.failures == []
    )


def test_people_get_a_table(quick: tuple[subprocess.CompletedProcess[bytes], Path]) -> None:
    done, _ = quick
    assert all(name in done.stderr.decode().rpartition("Benchmarks")[2] for name in command.BENCHES)


def test_nothing_stays_behind(quick: tuple[subprocess.CompletedProcess[bytes], Path]) -> None:
    _, directory = quick
    assert list((directory / "data").iterdir()) == []
    assert running_on(directory) == []


def test_a_run_that_is_told_to_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "ingest.batch.msgpack", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("sending batches" in line for line in process.stderr)
        assert running_on(tmp_path) != []
        process.terminate()
        process.stderr.read()
        assert process.wait(RUN_SECONDS_MAX) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert running_on(tmp_path) == []


@pytest.mark.parametrize(("failures", "met", "code"), [([], False, 0), (["1 lost in the log"], True, 1)])
def test_a_failed_check_is_an_error_and_a_missed_target_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failures: list[str], met: bool, code: int
) -> None:
    result = msgspec.structs.replace(RESULT, met=met, failures=failures)
    monkeypatch.setitem(command.BENCHES, "disk", lambda session: result)
    done = CliRunner().invoke(command.main, ["disk", "--quick", "--dir", str(tmp_path)])
    assert done.exit_code == code
    assert decoded(done.stdout.encode()).failures == failures
    assert all(failure in done.stderr for failure in failures)


def test_a_directory_in_memory_is_refused() -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir():
        pytest.skip("this machine has no file system in memory")
    done = CliRunner().invoke(command.main, ["disk", "--quick", "--dir", str(memory)])
    assert done.exit_code == 2
    assert "name a directory on a disk" in done.stderr
