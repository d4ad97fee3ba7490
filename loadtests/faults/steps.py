"""The numbered steps at which a process can be told to die, by the part of the service that takes them."""

from typing import Final, Literal

Role = Literal["ingest", "sink", "projector"]

STEPS: Final[dict[Role, tuple[str, ...]]] = {
    "ingest": ("verified", "published", "answered"),
    "sink": (
        "claimed",
        "chosen",
        "frozen",
        "inserted log",
        "inserted refused",
        "inserted evidence",
        "inserted",
        "committed",
        "trimmed",
        "announced",
    ),
    "projector": ("projected", "recorded", "announced"),
}
"""`ingest/receive.py`, `ingest/sink.py` and `projections/projector.py` say what a death right after each leaves behind.

`inserted log` and the like lie between the tables of one range: some have its rows, some do not.
"""

DECK: Final[tuple[tuple[Role, str], ...]] = tuple((role, step) for role, steps in STEPS.items() for step in steps)
"""Every step of every part."""
