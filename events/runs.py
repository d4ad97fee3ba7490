"""Runs of consecutive seqs: what came or is missing, told in few numbers."""

Run = tuple[int, int]
"""Inclusive bounds of consecutive seqs."""


def without(runs: list[Run], others: list[Run]) -> list[Run]:
    """The parts of `runs` that lie in none of `others`; both are sorted and disjoint, and so is the result."""
    left: list[Run] = []
    place = 0
    for first, last in runs:
        while place < len(others) and others[place][1] < first:
            place += 1
        start, ahead = first, place
        while ahead < len(others) and others[ahead][0] <= last:
            if others[ahead][0] > start:
                left.append((start, others[ahead][0] - 1))
            start = others[ahead][1] + 1
            ahead += 1
        if start <= last:
            left.append((start, last))
    return left
