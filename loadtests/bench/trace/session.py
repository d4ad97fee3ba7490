"""What the trace benches of one run share: the country, the truth about its first province, two services over it."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np

from app.clock import now_ms
from app.errors import Explained
from keys.secrets import ServerSecrets
from loadtests.bench.bodies import Generators
from loadtests.bench.codes import person_codes
from loadtests.bench.report import Say
from loadtests.bench.system import Directories, key_file, registrations
from loadtests.bench.trace.service import Kept, Service
from loadtests.bench.trace.truth import Truth, Window
from loadtests.bench.trace.walk import walked
from loadtests.bench.trace.world import PROVINCES, Country, new_country
from loadtests.bench.world import World, new_world

KEPT_FILE: Final = "kept.json"
STAYS_OF_AN_INDEX: Final = (30, 60)
"""Index subjects have so many stays in all days, both ends included."""
REST_SECONDS: Final = 400.0
"""Past `min_age_to_force_merge_seconds` of the read models by more than the engine takes to look for what to merge."""
MINUTE_MS: Final = 60_000
ASKED_MIN: Final = 10
"""So many answers have a median, however long they take."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured: `rows` are stays. Each of `index` people is asked about `rounds` times, warm, or until
    `ask_seconds` are over. Once filled, or opened again, a service rests for `rest_seconds`, as it does every night:
    then weeks that rested are merged.
    """

    rows: int
    index: int = 50
    rounds: int = 6
    ask_seconds: float = 60.0
    many: int = 10_000
    chain_f1: int = 1_000
    load_seconds: float = 20.0
    load_scans_per_second: int = 50_000
    load_devices: int = 200
    load_people: int = 20_000
    load_batch_scans: int = 1_000
    quiet_seconds_max: float = 240.0
    rest_seconds: float = 0.0
    read_index: int = 20
    compared_rounds: int = 4


def sizes_of(rows: int) -> Sizes:
    """What fits so many stays: where a million takes two minutes in all, parts are shorter."""
    if rows >= 10_000_000:
        return Sizes(rows=rows, rest_seconds=REST_SECONDS)
    return Sizes(
        rows=rows,
        index=20,
        ask_seconds=3.0,
        many=max(rows // 2_000, 20),
        load_seconds=6.0,
        quiet_seconds_max=3.0,
        read_index=10,
    )


def quick() -> Sizes:
    """Enough to see that everything works, in some seconds."""
    return Sizes(
        rows=20_000,
        index=6,
        rounds=2,
        ask_seconds=1.0,
        many=20,
        chain_f1=30,
        load_seconds=1.0,
        load_scans_per_second=5_000,
        load_devices=16,
        load_people=500,
        load_batch_scans=200,
        quiet_seconds_max=0.0,
        read_index=3,
        compared_rounds=2,
    )


class KeptOther(Explained):
    """The directory holds no service that this run could use."""


class Session:
    """One run; a context manager."""

    def __init__(self, sizes: Sizes, parent: Path, say: Say, keep: Path | None = None) -> None:
        """`parent`: where the run's directories are made. `keep`: the one of the service over everything, its data and
        keys, which then outlive the run.

        Raises `KeptOther`.
        """
        self.sizes: Final = sizes
        self.say: Final = say
        self.parent: Final = parent
        self._keep: Final = keep
        self._kept: Final = _kept(keep, sizes.rows) if keep is not None else None
        self._exits: Final = contextlib.ExitStack()
        self._directories: Final = Directories(parent)

    def __enter__(self) -> Self:
        self._exits.enter_context(self._directories)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    @functools.cached_property
    def country(self) -> Country:
        """The country; its last day ends now, or when it was kept."""
        if self._kept is not None:
            return self._kept.country
        end_ms = now_ms() // MINUTE_MS * MINUTE_MS
        return new_country(rows=self.sizes.rows, end_ms=end_ms, others=self.sizes.load_devices)

    @property
    def window(self) -> Window:
        """The whole time that the country was scanned in."""
        return self.country.start_ms, self.country.end_ms

    @functools.cached_property
    def truth(self) -> Truth:
        """About the first province."""
        return Truth(self.country, 0, walked(self.country, 0, self.country.end_ms))

    @functools.cached_property
    def index(self) -> list[int]:
        """The index subjects: people of the first province with an ordinary number of stays, evenly chosen."""
        stays = np.bincount(self.truth.stays.person, minlength=self.country.people)
        low, high = STAYS_OF_AN_INDEX
        (ordinary,) = np.nonzero((stays >= low) & (stays <= high))
        return self._spread(ordinary.tolist(), self.sizes.index)

    @functools.cached_property
    def many(self) -> list[int]:
        """Many people of the first province, whatever they did, evenly chosen."""
        return self._spread(list(range(self.country.people)), self.sizes.many)

    @functools.cached_property
    def whole(self) -> Service:
        """The service over everything; `up` starts it."""
        return self._service("whole", PROVINCES)

    @functools.cached_property
    def tenth(self) -> Service:
        """The service over the first province's scans, which knows the same places and devices."""
        return self._service("tenth", 1)

    @functools.cached_property
    def keys(self) -> tuple[Path, ServerSecrets]:
        """The key file of every service, and its secrets."""
        return key_file(self._lasting("keys"))

    @functools.cached_property
    def world(self) -> World:
        """Where the load comes from that runs while traces are asked for: other people at other places."""
        sizes = self.sizes
        scans = int(sizes.load_scans_per_second * sizes.load_seconds) * 4
        return new_world(
            seed=2, devices=sizes.load_devices, people=sizes.load_people, scans=scans, now_ms=self.country.end_ms
        )

    @functools.cached_property
    def generators(self) -> Generators:
        """The processes that make the load's requests."""
        codes = person_codes(self.keys[1], self.world)
        return self._exits.enter_context(Generators(self.world, codes))

    def subjects(self, people: Sequence[int]) -> list[str]:
        """The pseudonyms of people of the first province."""
        return [self.truth.subject(person) for person in people]

    def turns(self) -> Iterator[int]:
        """The places in `index` to ask about, one after the other, until all rounds are done or the time is over."""
        until = time.monotonic() + self.sizes.ask_seconds
        for turn in range(self.sizes.rounds * len(self.index)):
            if turn >= ASKED_MIN and time.monotonic() > until:
                return
            yield turn % len(self.index)

    def directory(self, name: str) -> Path:
        """A fresh directory, removed at the end of the run."""
        return self._directories.fresh(name)

    def _lasting(self, name: str) -> Path:
        """A directory that is kept, where any is."""
        if self._keep is None:
            return self.directory(name)
        directory = self._keep / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _service(self, name: str, provinces: int) -> Service:
        whole = provinces == PROVINCES
        service = Service(
            directory=self._lasting(name) if whole else self.directory(name),
            key_file=self.keys[0],
            country=self.country,
            provinces=provinces,
            others=lambda: registrations(self.world),
            quiet_seconds_max=self.sizes.quiet_seconds_max,
            rest_seconds=self.sizes.rest_seconds,
            say=self.say,
            kept=self._keep / KEPT_FILE if self._keep is not None and whole else None,
        )
        self._exits.callback(service.down)
        return service

    @staticmethod
    def _spread(people: list[int], count: int) -> list[int]:
        return people[:: max(len(people) // count, 1)][:count]


def _kept(directory: Path, rows: int) -> Kept | None:
    """What an earlier run of so many stays has kept; None where the directory is empty. Raises `KeptOther`."""
    kept = Kept.read(directory / KEPT_FILE)
    if kept is not None and kept.country == new_country(
        rows=rows, end_ms=kept.country.end_ms, others=kept.country.others
    ):
        return kept
    if directory.exists() and any(directory.iterdir()):
        raise KeptOther(f"{directory} holds something else than {rows:,} stays: name another directory, or empty it.")
    return None
