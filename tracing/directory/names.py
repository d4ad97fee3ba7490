"""The directory itself: sealed records in the store, the keys that open them in a file apart."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from events import codec
from keys.envelope import open_record, seal_record, unwrap, wrap
from keys.sealing import SEAL_NONCE_BYTES, SealBroken
from keys.secrets import KEY_BYTES, DirectoryKey, ServerSecrets
from storage.clickhouse import Store
from storage.errors import StoreDown
from storage.patience import Patience
from storage.person_keys import PersonKeys, PersonKeysDown, WrappedKey
from tracing.directory.line_list import Entry, Person
from tracing.line_files import RowError

COLUMNS: Final = ("subject", "entered", "sealed")
REWRAP_KEYS: Final = 1_000
RETRY_SECONDS: Final = 5.0
SUBJECTS_A_READ: Final = 2_000

log: Final = logging.getLogger("truyvet.directory")


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """What an import does: people who are new, whose record differs, who stay as they were; and who was refused."""

    new: list[Entry]
    changed: list[Entry]
    unchanged: int
    errors: list[RowError]


class Rewrapped(msgspec.Struct, frozen=True, kw_only=True):
    """How many keys one pass has wrapped anew, and how many it could not unwrap, which stay as they are."""

    anew: int
    broken: int


class Directory:
    """Enter, open, erase. Thread-safe. Every method raises `StoreDown`."""

    def __init__(
        self,
        store: Store,
        keys: PersonKeys,
        secrets: ServerSecrets,
        *,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        self._store: Final = store
        self._keys: Final = keys
        self._secrets: Final = secrets
        self._clock: Final = clock
        self._random: Final = random
        self.broken = 0
        """How many people's keys could not be unwrapped when they were to be wrapped anew."""

    def examined(self, entries: Sequence[Entry]) -> Entered:
        """What entering them would do. No list brings somebody back who was erased: they are readmitted first.

        Records are opened to be compared; nothing of them leaves this.
        """
        subjects = [entry.subject for entry in entries]
        erased = self._keys.erased(subjects)
        known = self.opened(subjects)
        found = Entered(new=[], changed=[], unchanged=0, errors=[])
        unchanged = 0
        for entry in entries:
            if entry.subject in erased:
                reason = "the person was erased; readmit them before they are entered anew"
                found.errors.append(RowError(line=entry.line, column="", reason=reason))
            elif entry.subject not in known:
                found.new.append(entry)
            elif known[entry.subject] != entry.person:
                found.changed.append(entry)
            else:
                unchanged += 1
        return msgspec.structs.replace(found, unchanged=unchanged)

    def enter(self, entries: Sequence[Entry]) -> None:
        """Seal and keep people's records: first their keys, then what these open."""
        data_keys = self._data_keys([entry.subject for entry in entries])
        now = self._clock()
        rows = [
            (
                entry.subject,
                now,
                seal_record(
                    data_keys[entry.subject],
                    codec.to_json(entry.person),
                    entry.subject,
                    self._random(SEAL_NONCE_BYTES),
                ),
            )
            for entry in entries
            if entry.subject in data_keys
        ]
        if rows:
            self._store.insert("directory", COLUMNS, rows)

    def opened(self, subjects: Sequence[bytes]) -> dict[bytes, Person]:
        """The records of those who are in the directory and not erased."""
        wrapped = self._keys.of(subjects)
        sealed = self._sealed([subject for subject in subjects if subject in wrapped])
        found: dict[bytes, Person] = {}
        for subject, record in sealed.items():
            try:
                key = unwrap(self._secrets, wrapped[subject].wrapped, subject)
                found[subject] = codec.from_json(open_record(key, record, subject), Person)
            except SealBroken:
                log.warning("a record of the directory cannot be opened")  # of whom, is nobody's business here
        return found

    def erase(self, subject: bytes) -> bool:
        """Destroy somebody's key, for good. False where there was none."""
        return self._keys.erase(subject, self._clock())

    def readmit(self, subject: bytes) -> bool:
        """Let somebody who was erased be entered anew. False where they were not erased."""
        return self._keys.readmit(subject)

    def key_counts(self) -> dict[int, int]:
        """How many people's keys each master key wraps."""
        return self._keys.counts()

    def rewrap(self, stop: threading.Event) -> Rewrapped:
        """Wrap anew, some at a time, what older masters wrap. A key that cannot be unwrapped keeps no other from it."""
        master = self._master()
        anew = broken = 0
        after = b""
        while not stop.is_set() and (old := self._keys.wrapped_by_others(master.kid, REWRAP_KEYS, after)):
            fresh = [(key, again) for key in old if (again := self._anew(key)) is not None]
            if fresh:
                self._keys.rewrap(fresh)
            anew, broken, after = anew + len(fresh), broken + len(old) - len(fresh), old[-1].subject
        return Rewrapped(anew=anew, broken=broken)

    def run(self, stop: threading.Event) -> None:
        """After a rotation wrap everybody's key anew; then there is nothing to do until the process ends.

        The process ends by itself when the key file is replaced, and the next one begins here.
        """
        patience = Patience(log, RETRY_SECONDS)
        while not stop.is_set() and self._secrets.directory_keys:
            try:
                done = self.rewrap(stop)
            except StoreDown as error:
                patience.wait(stop, error)
                continue
            patience.over()
            self.broken = done.broken
            if not done.anew:
                break
        if self.broken:
            log.error("people's keys that cannot be unwrapped, and stay under an older directory key: %d", self.broken)
        stop.wait()

    def _anew(self, key: WrappedKey) -> WrappedKey | None:
        try:
            return self._wrapped(unwrap(self._secrets, key.wrapped, key.subject), key.subject)
        except SealBroken:
            return None

    def _data_keys(self, subjects: Sequence[bytes]) -> dict[bytes, bytes]:
        """Everybody's own key, fresh for those who have none; without those who were erased in the meantime."""
        known = self._keys.of(subjects)
        fresh = [self._wrapped(self._random(KEY_BYTES), subject) for subject in subjects if subject not in known]
        known |= self._keys.add(fresh)
        try:
            return {subject: unwrap(self._secrets, key.wrapped, subject) for subject, key in known.items()}
        except SealBroken as error:
            raise PersonKeysDown("somebody's key was wrapped by a directory key that the key file lacks") from error

    def _wrapped(self, data_key: bytes, subject: bytes) -> WrappedKey:
        master = self._master()
        return WrappedKey(subject, master.kid, wrap(master, data_key, subject, self._random(SEAL_NONCE_BYTES)))

    def _master(self) -> DirectoryKey:
        if not self._secrets.directory_keys:
            raise PersonKeysDown("the key file has no directory key: run truyvet migrate")
        return self._secrets.directory_keys[-1]

    def _sealed(self, subjects: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(subjects), SUBJECTS_A_READ):
            rows = self._store.rows(
                "SELECT hex(subject), hex(argMax(sealed, entered)) FROM directory"
                " WHERE subject IN (SELECT toFixedString(unhex(arrayJoin({subjects:Array(String)})), 16))"
                " GROUP BY subject",
                {"subjects": [subject.hex() for subject in subjects[start : start + SUBJECTS_A_READ]]},
            )
            found |= {bytes.fromhex(subject): bytes.fromhex(sealed) for subject, sealed in rows}
        return found
