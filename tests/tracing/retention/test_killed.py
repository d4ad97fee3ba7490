"""A run of retention against the power switch."""

import signal
import subprocess
import sys
from pathlib import Path

LIFE_SECONDS_MAX = 180


def test_a_process_that_is_killed_in_the_middle(redis_url: str, tmp_path: Path) -> None:
    """With the engine in the process: what it has dropped stays dropped, and what it has not is whole."""
    ends = [
        subprocess.run(
            [sys.executable, "-m", "tests.tracing.retention.dying", str(tmp_path), redis_url, "3", str(step)],
            cwd=Path(__file__).parents[3],
            check=False,
            timeout=LIFE_SECONDS_MAX,
        ).returncode
        for step in (3, 6, 0)
    ]
    assert ends == [-signal.SIGKILL] * 2 + [0]
