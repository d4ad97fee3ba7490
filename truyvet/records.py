"""What the client returns where a table would be too much. Fields that a newer service adds are passed over."""

import msgspec


class Edge(msgspec.Struct, frozen=True):
    """Who leads to a contact, and when (Unix ms) their first exposure began."""

    subject: str
    first: int


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """Who was with the index subjects, or with their contacts; `seconds` is the length of all exposures (Unix ms)."""

    subject: str
    depth: int
    seconds: float
    first: int
    last: int
    via: tuple[Edge, ...]


class CutOff(msgspec.Struct, frozen=True, kw_only=True):
    """Up to where was read (Unix ms)."""

    as_of: int
    read_to: int


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """An answer without its evidence, which `Client.answer` has whole and `Client.contacts` as a table."""

    id: str
    asked_at: int
    fingerprint: str
    cut_off: CutOff
    index_without_scans: tuple[str, ...]
    contacts: tuple[Contact, ...]


class SavedTrace(msgspec.Struct, frozen=True, kw_only=True):
    """What the list says of a saved trace."""

    id: str
    asked_at: int
    actor: str
    fingerprint: str


class CaseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the list says of a case: nothing about whom it is. Unix ms."""

    id: str
    confirmed_at: int
    infectious_from: int
    infectious_to: int


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody was at a place during `[start, end)` (Unix ms); `entry` and `exit` say how the ends are known."""

    place: str
    start: int
    end: int
    entry: str
    exit: str
    scans: tuple[tuple[str, int], ...]


class SavedTracesPage(msgspec.Struct, frozen=True):
    """A page of saved traces; `next` is the cursor of the page after."""

    items: list[SavedTrace]
    next: str | None


class CasesPage(msgspec.Struct, frozen=True):
    """A page of cases."""

    items: list[CaseSummary]
    next: str | None


class StaysPage(msgspec.Struct, frozen=True):
    """A page of stays."""

    items: list[Stay]
    next: str | None


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a question is about."""

    cases: tuple[str, ...]
    subjects: tuple[str, ...]


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question as the service takes it; what is left out is the service's default."""

    index: Index
    purpose: str
    from_: int | None = msgspec.field(default=None, name="from")
    to: int | None = None
    lag_seconds: int | None = None
    min_seconds: int | float | None = None
    rule: str | None = None
    as_of: int | None = None
    depth: int | None = None
    latency_seconds: int | None = None
