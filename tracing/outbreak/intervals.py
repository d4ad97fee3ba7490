"""Times that belong together: unions of intervals `[start, end)` in Unix ms. Pure."""

from collections.abc import Iterable

Interval = tuple[int, int]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same times in disjoint intervals that do not touch, by start. Empty ones vanish."""
    united: list[Interval] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return united


def length(intervals: Iterable[Interval]) -> int:
    """Milliseconds of disjoint intervals together."""
    return sum(end - start for start, end in intervals)
