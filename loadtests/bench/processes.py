"""What the service's processes use of the machine: CPU seconds and resident memory, as Linux's /proc has them."""

import os
from pathlib import Path
from typing import Final

import msgspec

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
BYTES_PER_MB: Final = 1_000_000


class Usage(msgspec.Struct, frozen=True):
    """CPU seconds that a process has spent so far, in user and kernel mode, and its resident memory in MB."""

    cpu_seconds: float
    resident_mb: float


Usages = dict[str, Usage]
"""By process: `valkey`, `store`, `ingest-1` …, `client`."""


def usages(pids: dict[str, int]) -> Usages:
    """The usage of each process that still runs."""
    found = {}
    for name, pid in pids.items():
        try:
            found[name] = usage(pid)
        except FileNotFoundError:
            continue
    return found


def usage(pid: int) -> Usage:
    """One process's usage, its threads included. Raises `FileNotFoundError`."""
    process = Path(f"/proc/{pid}")
    # The name of the program, in brackets, may hold anything.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    resident_pages = int((process / "statm").read_text().split()[1])
    return Usage(
        cpu_seconds=(int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
        resident_mb=resident_pages * PAGE_BYTES / BYTES_PER_MB,
    )


def cpu_between(before: Usages, after: Usages) -> dict[str, float]:
    """CPU seconds that each process spent in between."""
    return {name: round(after[name].cpu_seconds - before[name].cpu_seconds, 2) for name in before if name in after}
