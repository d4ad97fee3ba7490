"""Which processes a run has left."""

import os
from pathlib import Path


def running_on(directory: Path) -> list[str]:
    """The processes that have the directory among their arguments, environment or as their own."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                where = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                where += bytes((process / "cwd").readlink())
            except OSError:
                continue
            if str(directory).encode() in where:
                found.append(where.decode())
    return found
