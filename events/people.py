"""The state of people: who is a case, a contact, recovered or released, and what is known of their health."""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from events.devices import Pseudonym
from events.scans import AtMs

SourceText = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$(?!\n)")
]
"""A document's own number: of a case, a trace, an order. Never a name."""


class State(enum.StrEnum):
    """What somebody is to those who contain an outbreak."""

    F0 = "f0"
    RECOVERED = "recovered"
    F1 = "f1"
    F2 = "f2"
    RELEASED = "released"


class SourceKind(enum.StrEnum):
    """What a state rests on."""

    CASE = "case"
    TRACE = "trace"
    ORDER = "order"


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a state comes from: a confirmed case, a saved trace, or an order of an authority, by its number."""

    kind: SourceKind
    id: SourceText


class StateChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody was declared to be in a state from `at` on (Unix ms).

    `until` is when the quarantine or isolation that comes with it is due to end; None where no day is set.
    """

    subject: Pseudonym
    state: State
    at: AtMs
    until: AtMs | None = None
    source: Source


class HealthKind(enum.StrEnum):
    """What a health record tells of."""

    VACCINATION = "vaccination"
    TEST = "test"


class Finding(enum.StrEnum):
    """What a test found."""

    NEGATIVE = "negative"
    POSITIVE = "positive"
    INCONCLUSIVE = "inconclusive"


class HealthRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vaccination or a test of a subject on a day (ISO 8601).

    `product` is the vaccine or the kind of test; `dose` counts from 1, for vaccinations; `result` is for tests.
    `source` names the register that the record comes from, `record` its number there: together they are its identity.
    """

    subject: str
    kind: HealthKind
    day: str
    product: str
    dose: int | None
    result: Finding | None
    source: str
    record: str
