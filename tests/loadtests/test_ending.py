"""A run that is told to end leaves through what it has begun."""

import signal
import subprocess
import sys

PROGRAM = """
import time
from loadtests.ending import exit_when_told
exit_when_told()
try:
    print("begun", flush=True)
    time.sleep(60)
finally:
    print("tidied", flush=True)
"""


def test_sigterm_runs_what_stands_in_finally() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        assert process.stdout.read() == "tidied\n"
    assert process.returncode == 128 + signal.SIGTERM
