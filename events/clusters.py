"""Clusters: what is announced of places where several F0 were within a span of time."""

import enum

import msgspec


class Change(enum.StrEnum):
    """What an announcement says of a cluster.

    `grown`: it has more cases. `shrunk`: it has fewer. `moved`: it has the same ones, at another time. `withdrawn`: it
    is none any more, because a case was corrected, a key revoked, or another cluster took it in.
    """

    NEW = "new"
    GROWN = "grown"
    SHRUNK = "shrunk"
    MOVED = "moved"
    WITHDRAWN = "withdrawn"


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster (`cluster` is its id for good) is new, or has changed, as found at `at`. Times in Unix ms.

    `cases` were at the place, or inside it, between `from` and `to`; `added` are those that were not announced before.
    `first`: when the cluster was announced first. `into`: the cluster that took a withdrawn one in. `cases_min` and
    `window_hours` are the settings by which it is one: so many F0 within so many hours.
    """

    cluster: str
    change: Change
    place: str
    from_: int = msgspec.field(name="from")
    to: int
    cases: tuple[str, ...]
    added: tuple[str, ...]
    first: int
    at: int
    cases_min: int
    window_hours: int
    into: str | None = None


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """An announcement with its place in the feed: numbers count from 1 without a gap."""

    number: int
    announcement: Announcement
