"""What makes two answers differ: who was added, removed, changed, and by which scans. Pure.

A contact differs because a stay that it rests on differs; stays that differ and share a scan, or a place and a time,
are one change. Its scans are those that count on one side only and prove one of these stays, or else happened while
one of them lasted. Where no scan counts on one side only, something else changed: a stay that was still open then, a
place's dwell, a parameter of the question, the contact's place in the chain, or scans that are kept no longer.
"""

import enum
import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final

import msgspec

from events import codec
from events.problems import TRACE_TOO_LARGE, ProblemError
from projections.stays import ExitKnown, ScanId, Stay
from tracing.answer import Answer, AnsweredContact, CutOff
from tracing.question import ResolvedQuestion

CONTACTS_DIFFERING_MAX: Final = 20_000
"""So many contacts that differ are told of, with their scans; a longer list compares two questions, not two answers."""
CONTACTS_A_STEP: Final = 1_000
"""Of so many contacts at a time the scans are recalled."""


class Cause(enum.StrEnum):
    """Why a contact differs. Several may hold together."""

    LATE = "late"
    """Scans that the log took in between the two moments."""
    QUARANTINE = "quarantine"
    """Scans under a key that is revoked, or no longer revoked, by the one moment and not by the other."""
    OPEN = "open"
    """A stay was still going on, or had not even begun, at the earlier of the two moments: time has passed."""
    PLACES = "places"
    """A place was registered otherwise at the two moments: its dwell, or what it lies within."""
    EXPIRED = "expired"
    """Scans that one answer rests on were kept no longer when the other was asked."""
    PARAMETERS = "parameters"
    """The two questions differ; `parameters` says in what."""
    CHAIN = "chain"
    """Somebody who leads to this contact differs: see `through`."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a contact stands in one of the answers. Times in Unix ms."""

    depth: int
    seconds: float
    ms: int
    first: int
    last: int
    encounters: int


class CausingScan(msgspec.Struct, frozen=True, kw_only=True):
    """A scan that makes the difference, whose it is, when it happened and when the log took it in (Unix ms).

    `before` and `after`: whether it counts there. One that counts in both proves an encounter of one answer only.
    """

    subject: str
    device: str
    seq: int
    at: int
    received: int
    before: bool
    after: bool


class ContactDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One contact in both answers; null where it is none. `changed` names what differs between the two.

    `through`: those among the contacts that differ themselves and lead to this one.
    """

    subject: str
    before: Standing | None
    after: Standing | None
    changed: tuple[str, ...]
    causes: tuple[Cause, ...]
    scans: tuple[CausingScan, ...]
    through: tuple[str, ...]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two answers: the saved trace that it is, what was asked, and up to where was read."""

    trace: str
    fingerprint: str
    question: ResolvedQuestion
    cut_off: CutOff
    contacts: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Who was added, removed and changed from `before` to `after`, each in the order of its answer.

    `parameters` are the names of the question's fields that differ, `as_of` among them. `fingerprint` is the SHA-256,
    in hex, of all but itself and the two traces' ids: the same two answers always differ in the same way.
    """

    fingerprint: str
    before: Side
    after: Side
    parameters: tuple[str, ...]
    unchanged: int
    added: tuple[ContactDifference, ...]
    removed: tuple[ContactDifference, ...]
    changed: tuple[ContactDifference, ...]


class KnownScan(msgspec.Struct, frozen=True):
    """A scan as the log has it (Unix ms), and whether it counts for either answer."""

    at: int
    received: int
    before: bool
    after: bool


class Recalled(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one subject that either answer could know: scans, and the stays that they make on each side."""

    scans: Mapping[ScanId, KnownScan]
    before: Sequence[Stay]
    after: Sequence[Stay]


class Recall(msgspec.Struct, frozen=True):
    """`subjects` recalls what is known of people; `places` holds ids registered otherwise at the two moments."""

    subjects: Callable[[Set[str]], Mapping[str, Recalled]]
    places: Callable[[Set[str]], Set[str]]


def difference(before: Answer, after: Answer, recall: Recall) -> Difference:
    """How the answers differ. Raises TRACE_TOO_LARGE as `ProblemError`, and what `recall` raises."""
    was = {contact.subject: contact for contact in before.contacts}
    now = {contact.subject: contact for contact in after.contacts}
    differing = [subject for subject in {**now, **was} if was.get(subject) != now.get(subject)]
    if len(differing) > CONTACTS_DIFFERING_MAX:
        raise ProblemError(TRACE_TOO_LARGE.problem(f"more than {CONTACTS_DIFFERING_MAX} contacts differ"))
    comparison = _Comparison(before, after, frozenset(differing), recall)
    told = comparison.told(differing, was, now)
    whole = Difference(
        fingerprint="",
        before=_side(before),
        after=_side(after),
        parameters=comparison.parameters,
        unchanged=len(was.keys() & now.keys()) - sum(1 for subject in differing if subject in was and subject in now),
        added=tuple(told[contact.subject] for contact in after.contacts if contact.subject not in was),
        removed=tuple(told[contact.subject] for contact in before.contacts if contact.subject not in now),
        changed=tuple(
            told[contact.subject] for contact in after.contacts if contact.subject in was and contact.subject in told
        ),
    )
    anonymous = msgspec.structs.replace(
        whole,
        before=msgspec.structs.replace(whole.before, trace=""),
        after=msgspec.structs.replace(whole.after, trace=""),
    )
    return msgspec.structs.replace(whole, fingerprint=hashlib.sha256(codec.to_json(anonymous)).hexdigest())


def differing_parameters(before: ResolvedQuestion, after: ResolvedQuestion) -> tuple[str, ...]:
    """The fields in which two questions differ, by their names on the wire."""
    return tuple(
        field.encode_name
        for field in msgspec.structs.fields(ResolvedQuestion)
        if getattr(before, field.name) != getattr(after, field.name)
    )


class _Comparison:
    """Two answers, and who differs in them."""

    def __init__(self, before: Answer, after: Answer, differing: Set[str], recall: Recall) -> None:
        self.parameters: Final = differing_parameters(before.question, after.question)
        self._asked_otherwise: Final = any(name not in ("as_of", "preset") for name in self.parameters)
        self._expired_before: Final = _expired_before(before.cut_off, after.cut_off)
        self._moments: Final = sorted((before.cut_off.as_of, after.cut_off.as_of))
        self._differing: Final = differing
        self._recall: Final = recall

    def told(
        self, subjects: Sequence[str], was: Mapping[str, AnsweredContact], now: Mapping[str, AnsweredContact]
    ) -> dict[str, ContactDifference]:
        """Each contact that differs, with why."""
        told: dict[str, ContactDifference] = {}
        for begin in range(0, len(subjects), CONTACTS_A_STEP):
            step = subjects[begin : begin + CONTACTS_A_STEP]
            involved = {each for subject in step for each in (subject, *_sources(was.get(subject), now.get(subject)))}
            recalled = self._recall.subjects(involved)
            for subject in step:
                told[subject] = self._one(subject, was.get(subject), now.get(subject), recalled)
        return told

    def _one(
        self,
        subject: str,
        was: AnsweredContact | None,
        now: AnsweredContact | None,
        recalled: Mapping[str, Recalled],
    ) -> ContactDifference:
        sources = _sources(was, now)
        evidence = _evidence(was) | _evidence(now)
        groups = [
            (each, group)
            for each in (subject, *sources)
            if each in recalled
            for group in changed_groups(recalled[each], {stay for owner, stay in evidence if owner == each})
        ]
        scans = {scan for each, group in groups for scan in _scans_of(each, group, recalled[each])}
        through = tuple(source for source in sources if source in self._differing)
        stays = [stay for _, group in groups for stay in group]
        one_sided = [stay for _, stay in _evidence(was) ^ _evidence(now)]
        causes = self._causes(scans, stays, one_sided, through)
        if not scans and Cause.PARAMETERS in causes:
            scans = _one_sided_proof(was, now, recalled)
        return ContactDifference(
            subject=subject,
            before=_standing(was),
            after=_standing(now),
            changed=_changed(was, now) if was is not None and now is not None else (),
            causes=causes,
            scans=tuple(sorted(scans, key=lambda scan: (scan.at, scan.device, scan.seq))),
            through=through,
        )

    def _causes(
        self, scans: Set[CausingScan], stays: Sequence[Stay], one_sided: Sequence[Stay], through: Sequence[str]
    ) -> tuple[Cause, ...]:
        """`stays` differ as the log has them now; `one_sided` prove encounters of one answer only."""
        earlier, later = self._moments
        late = any(earlier < scan.received <= later for scan in scans)
        quarantine = any(not earlier < scan.received <= later for scan in scans)
        holds = {
            Cause.LATE: late,
            Cause.QUARANTINE: quarantine,
            Cause.OPEN: any(stay.exit is ExitKnown.OPEN or (not scans and stay.end > earlier) for stay in stays),
            Cause.PLACES: bool(stays) and bool(self._recall.places({stay.place for stay in stays})),
            Cause.EXPIRED: any(stay.start < self._expired_before for stay in one_sided),
            Cause.PARAMETERS: self._asked_otherwise,
            Cause.CHAIN: bool(through),
        }
        return tuple(cause for cause, holding in holds.items() if holding)


def _expired_before(before: CutOff, after: CutOff) -> int:
    """Scans from before then (Unix ms) were there for one of the answers at most; 0 where they were alike."""
    return 0 if before.kept_from == after.kept_from else max(before.kept_from or 0, after.kept_from or 0)


def changed_groups(recalled: Recalled, evidence: Set[Stay]) -> list[list[Stay]]:
    """The stays that are on one side only, as groups that share scans or a place and a time.

    Only groups that hold some of the evidence: what else changed for this subject led to nothing here.
    """
    before, after = set(recalled.before), set(recalled.after)
    groups: list[list[Stay]] = []
    for stay in sorted(before ^ after, key=lambda stay: (stay.start, stay.end, stay.place, stay.scans)):
        apart = [group for group in groups if not any(_together(stay, other) for other in group)]
        together = [other for group in groups if group not in apart for other in group]
        groups = [*apart, [*together, stay]]
    return [group for group in groups if not evidence.isdisjoint(group)]


def _together(one: Stay, other: Stay) -> bool:
    if not set(one.scans).isdisjoint(other.scans):
        return True
    return one.place == other.place and one.start <= other.end and other.start <= one.end


def _scans_of(subject: str, group: Sequence[Stay], recalled: Recalled) -> set[CausingScan]:
    """The scans that count on one side only and prove the group's stays, else those that happened during them."""
    one_sided = {scan_id for scan_id, scan in recalled.scans.items() if scan.before != scan.after}
    proving = {scan_id for stay in group for scan_id in stay.scans} & one_sided
    if not proving:
        start, end = min(stay.start for stay in group), max(stay.end for stay in group)
        proving = {scan_id for scan_id in one_sided if start <= recalled.scans[scan_id].at <= end}
    return {_causing(subject, scan_id, recalled) for scan_id in proving}


def _causing(subject: str, scan_id: ScanId, recalled: Recalled) -> CausingScan:
    device, seq = scan_id
    scan = recalled.scans[scan_id]
    return CausingScan(
        subject=subject,
        device=device,
        seq=seq,
        at=scan.at,
        received=scan.received,
        before=scan.before,
        after=scan.after,
    )


def _one_sided_proof(
    was: AnsweredContact | None, now: AnsweredContact | None, recalled: Mapping[str, Recalled]
) -> set[CausingScan]:
    """The scans that prove encounters of one answer only."""
    return {
        _causing(subject, scan_id, recalled[subject])
        for subject, scan_id in _proof(was) ^ _proof(now)
        if subject in recalled and scan_id in recalled[subject].scans
    }


def _proof(contact: AnsweredContact | None) -> set[tuple[str, ScanId]]:
    return {(subject, scan_id) for subject, stay in _evidence(contact) for scan_id in stay.scans}


def _evidence(contact: AnsweredContact | None) -> set[tuple[str, Stay]]:
    """Whose and which stays a contact rests on."""
    if contact is None:
        return set()
    theirs = {(contact.subject, one.stay) for one in contact.encounters}
    return theirs | {(one.index, one.index_stay) for one in contact.encounters}


def _sources(was: AnsweredContact | None, now: AnsweredContact | None) -> list[str]:
    """Who leads to the contact in either answer."""
    return sorted({edge.subject for contact in (was, now) if contact is not None for edge in contact.via})


def _changed(was: AnsweredContact, now: AnsweredContact) -> tuple[str, ...]:
    differs = {
        "seconds": was.ms != now.ms,
        "first": was.first != now.first,
        "last": was.last != now.last,
        "depth": was.depth != now.depth,
        "via": was.via != now.via,
        "encounters": was.encounters != now.encounters,
    }
    return tuple(name for name, differing in differs.items() if differing)


def _standing(contact: AnsweredContact | None) -> Standing | None:
    if contact is None:
        return None
    return Standing(
        depth=contact.depth,
        seconds=contact.seconds,
        ms=contact.ms,
        first=contact.first,
        last=contact.last,
        encounters=len(contact.encounters),
    )


def _side(answer: Answer) -> Side:
    return Side(
        trace=answer.id,
        fingerprint=answer.fingerprint,
        question=answer.question,
        cut_off=answer.cut_off,
        contacts=len(answer.contacts),
    )
