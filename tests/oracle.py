"""What a trace means, a second time: slow, naive and written from the semantics page alone.

Nothing here is shared with `tracing`. Stays are found place by place by looking ahead from each entry, durations by
cutting time into slices and asking of each slice whether it counts, contacts by comparing everybody with everybody.
Values are plain: a scan is `OracleScan`, a stay is (place, start, end, entry, exit, scans), times are ms.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

HOUR = 3_600_000
DEFAULT_DWELL = 2 * HOUR

OracleStay = tuple[str, int, int, str, str, tuple[tuple[str, int], ...]]


class OracleScan(NamedTuple):
    """One delivery of a scan."""

    device: str
    seq: int
    at: int
    received: int
    kind: str
    place: str
    subject: str


class OraclePlace(NamedTuple):
    """A place with its parent's id and its own dwell in ms."""

    parent: str | None
    dwell: int | None


class OracleQuery(NamedTuple):
    """A question with everything in ms; `windows` are (index subject, from, to)."""

    windows: tuple[tuple[str, int, int], ...]
    lag: int
    least: int
    rule: str
    as_of: int
    depth: int
    latency: int


def that_count(deliveries: Iterable[OracleScan], as_of: int) -> list[OracleScan]:
    """Deliveries in the log's order → scans that count."""
    taken: list[OracleScan] = []
    for delivery in deliveries:
        if not any((one.device, one.seq) == (delivery.device, delivery.seq) for one in taken):
            taken.append(delivery)
    return [one for one in taken if one.received <= as_of]


def is_inside(place: str, outer: str, places: dict[str, OraclePlace]) -> bool:
    """Whether being at `place` is being at `outer`."""
    if place == outer:
        return True
    parent = places[place].parent
    return parent is not None and is_inside(parent, outer, places)


def stays_of(scans: Iterable[OracleScan], places: dict[str, OraclePlace], as_of: int) -> list[OracleStay]:
    """The stays of one subject."""
    ordered = sorted(scans, key=lambda scan: (scan.at, scan.kind != "out", scan.device, scan.seq))
    found: list[OracleStay] = []
    for place, known in places.items():
        explained: set[int] = set()
        for position, scan in enumerate(ordered):
            if scan.place != place or position in explained:
                continue
            if scan.kind == "out":
                found.append(missed_entry(ordered, position, dwell_of(known)))
            else:
                stay, used = look_ahead(ordered, position, places, as_of)
                found.append(stay)
                explained |= used
    return [stay for stay in found if stay[1] < stay[2]]


def dwell_of(place: OraclePlace) -> int:
    """In ms."""
    return DEFAULT_DWELL if place.dwell is None else place.dwell


def missed_entry(ordered: list[OracleScan], position: int, dwell: int) -> OracleStay:
    """The stay that an exit proves which nothing opened; it may be empty."""
    out = ordered[position]
    earliest = out.at - dwell
    proof = [out]
    if position > 0 and ordered[position - 1].at > earliest:
        earliest = ordered[position - 1].at
        proof = [ordered[position - 1], out]
    return (out.place, earliest, out.at, "imputed", "measured", ids(proof))


def look_ahead(
    ordered: list[OracleScan], position: int, places: dict[str, OraclePlace], as_of: int
) -> tuple[OracleStay, set[int]]:
    """The stay that the entry at `position` opens, and the positions at its place that belong to it."""
    entry = ordered[position]
    dwell = dwell_of(places[entry.place])
    seen = [entry]
    used = {position}

    def stay(end: int, known: str, proof: list[OracleScan]) -> OracleStay:
        return (entry.place, entry.at, end, "measured", known, ids(proof))

    for later in range(position + 1, len(ordered)):
        scan = ordered[later]
        limit = min(seen[-1].at + dwell, entry.at + 24 * HOUR)
        if limit <= scan.at:
            return stay(limit, "dwell", seen), used
        if not is_inside(scan.place, entry.place, places):
            return stay(scan.at, "moved", [*seen, scan]), used
        if scan.place == entry.place:
            used.add(later)
            if scan.kind == "out":
                return stay(scan.at, "measured", [*seen, scan]), used
            seen.append(scan)
    limit = min(seen[-1].at + dwell, entry.at + 24 * HOUR)
    return (stay(limit, "dwell", seen) if limit <= as_of else stay(as_of, "open", seen)), used


def ids(scans: list[OracleScan]) -> tuple[tuple[str, int], ...]:
    """Their identities."""
    return tuple((scan.device, scan.seq) for scan in scans)


def exposures(
    windows: Iterable[tuple[str, int, int]], stays: dict[str, list[OracleStay]], other: str, lag: int
) -> list[dict[str, Any]]:
    """Every encounter of `other` with the subjects in their windows, in the order of the worked cases."""
    met = []
    for index, opens, closes in windows:
        for a in stays.get(index, []):
            for b in stays.get(other, []):
                cuts = sorted({opens, closes, a[1], a[2], a[2] + lag, closes + lag, b[1], b[2]})
                end_of_a = min(a[2], closes)
                there = [
                    (begin, end)
                    for begin, end in pairwise(cuts)
                    if a[0] == b[0]
                    and b[1] <= begin < b[2]
                    and (
                        (a[1] <= begin < a[2] and opens <= begin < closes)
                        or (max(a[1], opens) < end_of_a and end_of_a <= begin < end_of_a + lag)
                    )
                ]
                if there:
                    met.append({"start": there[0][0], "end": there[-1][1], "place": a[0], "index": index})
    return sorted(met, key=lambda one: (one["start"], one["end"], one["place"], one["index"]))


def length_of_union(met: list[dict[str, Any]]) -> int:
    """In ms; each slice between two cuts counts once if any encounter covers it."""
    cuts = sorted({one["start"] for one in met} | {one["end"] for one in met})
    return sum(
        end - begin for begin, end in pairwise(cuts) if any(one["start"] <= begin and end <= one["end"] for one in met)
    )


def contacts_of(
    windows: list[tuple[str, int, int]], stays: dict[str, list[OracleStay]], query: OracleQuery, out: set[str]
) -> list[dict[str, Any]]:
    """The contacts of these subjects together, longest first."""
    found = []
    for other in stays.keys() - out:
        met = exposures(windows, stays, other, query.lag)
        total = length_of_union(met)
        longest = max((one["end"] - one["start"] for one in met), default=0)
        if total > 0 and (total if query.rule == "total" else longest) >= query.least:
            found.append(
                {
                    "subject": other,
                    "ms": total,
                    "first": min(one["start"] for one in met),
                    "last": max(one["end"] for one in met),
                    "encounters": met,
                }
            )
    return sorted(found, key=lambda contact: (-contact["ms"], contact["subject"]))


def chain_of(stays: dict[str, list[OracleStay]], query: OracleQuery) -> list[dict[str, list[list[Any]]]]:
    """By depth: contact → its edges, each [from whom, when first]."""
    known = {subject for subject, _, _ in query.windows}
    ends = max(closes for _, _, closes in query.windows)
    layer: dict[str, list[list[Any]]] = {}
    for contact in contacts_of(list(query.windows), stays, query, known):
        for index in sorted({one["index"] for one in contact["encounters"]}):
            first = min(one["start"] for one in contact["encounters"] if one["index"] == index)
            layer.setdefault(contact["subject"], []).append([index, first])
    layers = [layer]
    while len(layers) < query.depth:
        known |= layers[-1].keys()
        layer = {}
        for source in sorted(layers[-1]):
            begins = min(first for _, first in layers[-1][source]) + query.latency
            for contact in contacts_of([(source, begins, ends)], stays, query, known):
                layer.setdefault(contact["subject"], []).append([source, contact["first"]])
        layers.append(layer)
    return layers


def answer(places: dict[str, OraclePlace], deliveries: Iterable[OracleScan], query: OracleQuery) -> dict[str, Any]:
    """The answer in the form of the worked cases, with the scans that prove each stay as a sixth field."""
    scans = that_count(deliveries, query.as_of)
    stays = {
        subject: sorted(stays_of([scan for scan in scans if scan.subject == subject], places, query.as_of))
        for subject in {scan.subject for scan in scans}
    }
    return {
        "stays": stays,
        "contacts": contacts_of(list(query.windows), stays, query, {subject for subject, _, _ in query.windows}),
        "chain": chain_of(stays, query),
    }
