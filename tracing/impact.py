"""What the revocation of a device key changes: its scans, and saved traces asked again as if it had been known then.

A saved trace rests on more scans than it names: those that it left out because they moved somebody elsewhere in time.
So each that the scans can concern is asked again, once as things are and once supposing the revocation, and the two
answers are compared.
"""

import enum
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from events import problems
from events.control import DeviceKeyRestored, DeviceKeyRevoked, Recorded
from events.devices import Device
from events.problems import ProblemError
from storage.clickhouse import Store
from storage.control import ControlLog
from tracing.answer import Answer, Tracer
from tracing.bounds import AS_JOB
from tracing.difference import ContactDifference, difference
from tracing.moment import ReadModels
from tracing.question import ResolvedQuestion
from tracing.recall import recall_of
from tracing.registry import Registry
from tracing.retention.horizon import REACH_MS

CONTACTS_SHOWN_MAX: Final = 200
"""Of so many contacts of each saved trace it is said how they differ; all are counted."""
BEFORE_ALL_MS: Final = 0

_SCOPE: Final = """
SELECT count(), uniqExact(subject), toUnixTimestamp64Milli(min(at)), toUnixTimestamp64Milli(max(at)),
  toUnixTimestamp64Milli(min(received))
FROM (
  SELECT seq, key, subject, at, received FROM log WHERE device = {device:UInt32} ORDER BY received LIMIT 1 BY seq
)
WHERE key = {key:UInt16} AND received >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND at >= fromUnixTimestamp64Milli({kept_from:Int64}, 'UTC')"""


class Effect(enum.StrEnum):
    """What the revocation does to a saved trace."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    EXPIRED = "expired"
    """The scans that it was answered from are kept no longer: nobody can say."""
    TOO_LARGE = "too-large"
    """So many people hang on it, or so many encounters, that it is asked as a job, or by parts, by whoever needs it."""


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """The scans that the log received under a key since a time: how many, of how many subjects, and when they happened.

    Times in Unix ms, null where there are none. Each scan counts once, by its first delivery.
    """

    scans: int
    subjects: int
    first_at: int | None
    last_at: int | None
    first_received: int | None


class TraceImpact(msgspec.Struct, frozen=True, kw_only=True):
    """A saved trace, asked at `asked_at` (Unix ms), and how many of its contacts differ, with how the first ones do.

    Of one that was saved without evidence, and has too many encounters to be asked with it, contacts count as changed
    by how long, when and how often they were met, and nothing says by which scans.
    """

    trace: str
    asked_at: int
    actor: str
    effect: Effect
    added: int = 0
    removed: int = 0
    changed: int = 0
    contacts: tuple[ContactDifference, ...] = ()

    @property
    def people(self) -> set[str]:
        """Who is named."""
        return {name for one in self.contacts for name in (one.subject, *(scan.subject for scan in one.scans))}


Changes = tuple[Effect, list[ContactDifference], list[ContactDifference], list[ContactDifference]]
"""What becomes of a saved trace: its contacts that are added, removed and changed."""


class Supposition:
    """The registries as if a key had always been known to be revoked from a time on. For one thread."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        supposed: Registry,
        tracer: Tracer,
        watermarks: ReadModels,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        """`registry` and `tracer` are as things are, `supposed` is the other one. `clock` gives Unix ms."""
        self._store: Final = store
        self._registry: Final = registry
        self._supposed: Final = supposed
        self._tracer: Final = tracer
        self._other: Final = Tracer(
            store=store,
            registry=supposed,
            caught_up=lambda seconds: True,
            watermarks=watermarks,
            clock=clock,
            random=random,
        )

    def on(self, answer: Answer) -> Changes:
        """What it does to a saved answer: added, removed and changed contacts. Raises `StoreDown`, BEHIND.

        It is asked again with evidence, however it was saved: without, one who was met elsewhere for as long would pass
        for unchanged, and nothing would say by which scans anybody differs. Only where that is too much, and it was
        saved without, it is asked as it was.
        """
        whole = self._on(msgspec.structs.replace(answer.question, evidence=True))
        return self._on(answer.question) if whole[0] is Effect.TOO_LARGE and not answer.question.evidence else whole

    def _on(self, question: ResolvedQuestion) -> Changes:
        try:
            before = self._tracer.trace(question, bounds=AS_JOB, early=False)
            after = self._other.trace(question, bounds=AS_JOB, early=False)
            if before.contacts == after.contacts:
                return Effect.UNCHANGED, [], [], []
            recall = recall_of(
                self._store,
                self._registry,
                self._tracer,
                before.question,
                after.question,
                supposed=(self._supposed, self._other),
            )
            found = difference(before, after, recall)
        except ProblemError as error:
            effect = _UNASKABLE.get(error.problem.name)
            if effect is None:
                raise
            return effect, [], [], []
        return Effect.CHANGED, list(found.added), list(found.removed), list(found.changed)


_UNASKABLE: Final = {
    problems.WINDOW_EXPIRED.name: Effect.EXPIRED,
    problems.TRACE_TOO_LARGE.name: Effect.TOO_LARGE,
}


def quarantined(store: Store, device: int, key: int, since: int, kept_from: int) -> Quarantined:
    """What a revocation of the key from `since` (Unix ms) on concerns. Raises `StoreDown`."""
    asked = {"device": device, "key": key, "since": since, "kept_from": kept_from}
    scans, subjects, first_at, last_at, first_received = store.rows(_SCOPE, asked)[0]
    return Quarantined(
        scans=scans,
        subjects=subjects,
        first_at=first_at if scans else None,
        last_at=last_at if scans else None,
        first_received=first_received if scans else None,
    )


def may_concern(answer: Answer, scans: Quarantined) -> bool:
    """Whether the scans could have been read for the answer: in time to be known, and near enough to its windows."""
    if scans.first_at is None or scans.last_at is None or scans.first_received is None:
        return False
    question = answer.question
    begins = min(each.from_ for each in question.index) - REACH_MS
    ends = max(each.to for each in question.index) + question.lag_ms + REACH_MS
    return scans.first_received <= question.as_of and scans.first_at < ends and begins <= scans.last_at


def trace_impact(supposition: Supposition, answer: Answer, actor: str, scans: Quarantined) -> TraceImpact:
    """What the revocation does to a saved trace, with no more contacts than are shown."""
    effect = Effect.UNCHANGED
    added: list[ContactDifference] = []
    removed: list[ContactDifference] = []
    changed: list[ContactDifference] = []
    if may_concern(answer, scans):
        effect, added, removed, changed = supposition.on(answer)
    return TraceImpact(
        trace=answer.id,
        asked_at=answer.asked_at,
        actor=actor,
        effect=effect,
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        contacts=tuple([*removed, *added, *changed][:CONTACTS_SHOWN_MAX]),
    )


class SupposedRegistries:
    """Registries that suppose a revocation; the latest is kept, for the pages of one report. Thread-safe."""

    def __init__(self, control: ControlLog) -> None:
        self._control: Final = control
        self._lock: Final = threading.Lock()
        self._latest: tuple[tuple[str, int, int, int | None], Registry] | None = None

    def of(self, device: Device, key: int, revoked_from: int) -> Registry:
        """As if the key had been revoked from `revoked_from` (Unix ms) on before all else. Raises `StreamDown`."""
        with self._lock:
            wanted = (device.id, key, revoked_from, self._control.newest_ms())
            if self._latest is None or self._latest[0] != wanted:
                self._latest = wanted, supposing(self._control, DeviceKeyRevoked(device.id, key, revoked_from))
            return self._latest[1]


def supposing(control: ControlLog, revocation: DeviceKeyRevoked) -> Registry:
    """The control stream replayed as if this had been recorded first, and again after every lifting of it."""
    registry = Registry()
    registry.apply(Recorded(BEFORE_ALL_MS, revocation))
    for _, recorded in control.replay():
        registry.apply(recorded)
        match recorded.event:
            case DeviceKeyRestored(device=device, key=key) if (device, key) == (revocation.device, revocation.key):
                registry.apply(Recorded(recorded.at, revocation))
            case _:
                pass
    return registry
