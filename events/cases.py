"""Subjects and confirmed cases."""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from events.devices import Pseudonym
from events.scans import AtMs

CaseId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$(?!\n)")]


class SubjectKind(enum.StrEnum):
    """Whom a code stands for."""

    PERSON = "person"
    VEHICLE = "vehicle"


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody (or some vehicle) that codes are issued for. Known by pseudonym alone."""

    subject: Pseudonym
    kind: SubjectKind = SubjectKind.PERSON


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A confirmed case (F0) with the window `[infectious_from, infectious_to)` in which others may be infected."""

    id: CaseId
    subject: Pseudonym
    confirmed_at: AtMs
    infectious_from: AtMs
    infectious_to: AtMs
