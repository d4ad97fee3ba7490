"""What the figures were measured on: this machine, and the versions of what takes part."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from storage.valkey import server_binary

PACKAGES: Final = ("chdb", "clickhouse-connect", "redis", "cryptography", "uvicorn", "uvloop", "msgspec", "numpy")
ASK_SECONDS_MAX: Final = 10
BYTES_PER_GB: Final = 1_000_000_000
REPOSITORY: Final = Path(__file__).resolve().parents[2]
UNKNOWN: Final = "unknown"


class Machine(msgspec.Struct, frozen=True):
    """The machine. `disk` names the device under the data directory and its file system.

    `load_average` is over the minute before the run: on a machine that was busy with other things it is not near 0.
    """

    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    disk: str
    load_average: float


def machine(directory: Path) -> Machine:
    """This machine, with the disk that the directory is on."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / BYTES_PER_GB, 1),
        kernel=platform.release(),
        disk=" ".join(mount(directory)),
        load_average=round(os.getloadavg()[0], 2),
    )


def versions() -> dict[str, str]:
    """Name → version of Python, the servers, the libraries and this repository (with `+` where it was changed)."""
    return {
        "python": platform.python_version(),
        "valkey": _asked([str(server_binary()), "--version"]).partition("v=")[2].partition(" ")[0] or UNKNOWN,
        **{name: version(name) for name in PACKAGES},
        "truyvet": _commit(),
    }


def mount(directory: Path) -> tuple[str, str]:
    """The device and the file system type that the directory lies on."""
    found, longest = (UNKNOWN, UNKNOWN), -1
    for line in Path("/proc/mounts").read_text().splitlines():
        device, point, kind, *_ = line.split()
        if directory.resolve().is_relative_to(point) and len(point) >= longest:
            found, longest = (device, kind), len(point)
    return found


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    commit = _asked(["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"]).strip()
    changed = _asked(["git", "-C", str(REPOSITORY), "status", "--porcelain", "--untracked-files=no"]).strip()
    return f"{commit or version('truyvet')}{'+' if changed else ''}"


def _asked(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS_MAX, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
