"""PostgreSQL is run, asked and ended."""

from pathlib import Path

import pytest

from loadtests.bench.trace.postgres import Postgres, PostgresFailed, packaged

BINARIES = packaged()


@pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed (Debian: apt-get install postgresql)")
def test_a_server_answers_and_leaves_nothing(tmp_path: Path) -> None:
    assert BINARIES is not None
    directory = tmp_path / "postgres"
    directory.mkdir()
    with Postgres(BINARIES, directory) as postgres:
        made = ["CREATE TABLE t (n int)", "INSERT INTO t VALUES (1), (2)"]
        assert postgres.asked(*made, "SELECT sum(n) FROM t") == "3\n"
        assert len(postgres.timed_ms(["PREPARE ask AS SELECT count(*) FROM t"], ["EXECUTE ask"] * 3)) == 3
        with pytest.raises(PostgresFailed, match="no_such_table"):
            postgres.asked("SELECT * FROM no_such_table")
    with pytest.raises(PostgresFailed):
        postgres.asked("SELECT 1")
