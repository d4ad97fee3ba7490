"""What an XREAD gave, in either version of the protocol."""

from typing import Any

Entry = tuple[bytes, dict[bytes, bytes]]
"""An entry's id and its fields."""


def entries_by_stream(answer: Any) -> dict[bytes, list[Entry]]:
    """The entries of each stream that had any; in RESP3 those of a stream lie in one list more."""
    if isinstance(answer, dict):
        return {stream: [entry for batch in batches for entry in batch] for stream, batches in answer.items()}
    return dict(answer or [])
