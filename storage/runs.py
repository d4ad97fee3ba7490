"""Runs of seqs as text, as the stream's server keeps them."""

Run = tuple[int, int]
"""Inclusive bounds of consecutive seqs."""


def parse_runs(text: str) -> list[Run]:
    """`"1-3,5-5"` as `[(1, 3), (5, 5)]`."""
    return [(int(low), int(high)) for low, _, high in (run.partition("-") for run in text.split(",") if run)]
