"""What the demonstration remembers beside the data, so that it simulates once and can ask the same question again."""

import os
from pathlib import Path
from typing import Final

import msgspec

from app.errors import Explained
from app.simulate.plan import Plan
from events import codec

MEMORY_FILE: Final = "demo.json"


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The plan whose scans are here, whether all of them were taken, and the first answer's moment and fingerprint."""

    plan: Plan
    sent: bool = False
    as_of: int | None = None
    fingerprint: str | None = None


class MemoryDamaged(Explained):
    """The file cannot be read; the message says which and what to do."""


def recall(data_dir: Path) -> Memory | None:
    """What a former demonstration on this data left; None before the first. Raises `MemoryDamaged`."""
    file = data_dir / MEMORY_FILE
    if not file.exists():
        return None
    try:
        return codec.from_json(file.read_bytes(), Memory)
    except msgspec.MsgspecError:
        raise MemoryDamaged(f"{file} is damaged. Move {data_dir} away to begin anew.") from None


def remember(data_dir: Path, memory: Memory) -> None:
    """Replace the file in one step."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = data_dir / f".{MEMORY_FILE}.{os.getpid()}"
    draft.write_bytes(codec.to_json(memory))
    draft.replace(data_dir / MEMORY_FILE)
