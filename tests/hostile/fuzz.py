"""Coverage-guided fuzzing of every target by atheris: `make fuzz SECONDS=60`.

Each target runs in a process of its own, on a corpus that begins with the seeds. Ends with 1 where one failed; the
input that did it is printed in hexadecimal, for a new seed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

INSTRUMENTED: Final = ["events", "ingest", "keys", "tests.hostile.fuzz_targets"]
INPUT_BYTES_MAX: Final = 8_192


def main(arguments: Sequence[str]) -> int:
    """Fuzz one target, or all of them one after the other."""
    parser = argparse.ArgumentParser(prog="tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--target", default="")
    parser.add_argument("--corpus", type=Path)
    given = parser.parse_args(arguments)
    if given.target:
        _fuzz(given.target, given.corpus, given.seconds)
        return 0
    failed = [name for name in _targets() if not _fuzzed(name, given.seconds)]
    print("failed: " + ", ".join(failed) if failed else "no target failed")
    return 1 if failed else 0


def _targets() -> list[str]:
    from tests.hostile.fuzz_targets import TARGETS

    return list(TARGETS)


def _fuzzed(name: str, seconds: int) -> bool:
    print(f"--- {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="truyvet-fuzz-") as directory:
        command = [sys.executable, "-m", "tests.hostile.fuzz", "--target", name, "--seconds", str(seconds)]
        done = subprocess.run([*command, "--corpus", directory], check=False)
        for crash in Path(directory).glob("crash-*"):
            print(f"{name} fails on {crash.read_bytes().hex()}")
    return done.returncode == 0


def _fuzz(name: str, corpus: Path, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.hostile.fuzz_targets import TARGETS
    target = TARGETS[name]
    inputs = corpus / "inputs"
    inputs.mkdir()
    for number, seed in enumerate(target.seeds):
        (inputs / str(number)).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={corpus}{os.sep}",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(inputs)], target.read)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
