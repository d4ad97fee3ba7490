"""What happens in a round: a pure function of the campaign's seed and the round's number."""

import random
from typing import Final, Literal

import msgspec

from loadtests.faults.steps import DECK, Role

Mode = Literal["embedded", "server"]
Way = Literal["cut", "stall", "deaf", "late", "half"]

MODES: Final[tuple[Mode, ...]] = ("embedded", "server")
BLOCK_ROUNDS: Final = 20
"""So many rounds run on one system before the other mode takes its turn on a new one."""
PROCESSES: Final[dict[Mode, tuple[str, ...]]] = {
    "embedded": ("valkey", "store", "ingest-1", "ingest-2"),
    "server": ("valkey", "clickhouse", "sink-1", "sink-2", "project", "ingest-1", "ingest-2"),
}
LINKS: Final[dict[Mode, tuple[str, ...]]] = {
    "embedded": ("door", "ingest-valkey", "store-valkey"),
    "server": (
        "door",
        "ingest-valkey",
        "sink-1-valkey",
        "sink-2-valkey",
        "project-valkey",
        "sink-1-clickhouse",
        "sink-2-clickhouse",
        "project-clickhouse",
    ),
}
"""`door` lies between the scanners and the edge; the others between a process and the server it needs."""
WAYS: Final[tuple[Way, ...]] = ("cut", "stall", "deaf", "late", "half")

DEATHS_PER_ROUND: Final = 2
LOAD_MS: Final = 700
"""How long traffic flows at least; it goes on until every fault of the round has happened."""
DOWN_MS_MAX: Final = 400
BROKEN_MS: Final = (100, 500)
OUTLASTING_MS: Final = 1_400
"""Longer than the processes wait for an answer of Valkey, and about as long as a sink's lease."""
NTH_MAX: Final[dict[Role, int]] = {"ingest": 40, "sink": 3, "projector": 2}
KILLS_WEIGHTS: Final = (5, 4, 1)
BREAKS_WEIGHTS: Final = (4, 5, 1)
BLACKOUT_CHANCE: Final = 0.08
OUTLASTING_CHANCE: Final = 0.15


class Death(msgspec.Struct, frozen=True, tag="death"):
    """A process ends itself by SIGKILL right after the `nth` time it takes a step, and stays down for a while."""

    role: Role
    step: str
    nth: int
    down_ms: int

    def __str__(self) -> str:
        return f"die at {self.role} {self.step}×{self.nth}"


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """A process gets SIGKILL at a moment of the round, and stays down for a while."""

    process: str
    at_ms: int
    down_ms: int

    def __str__(self) -> str:
        return f"kill {self.process} @{self.at_ms}"


class Break(msgspec.Struct, frozen=True, tag="break"):
    """A link breaks in one of `WAYS` for a while, then heals."""

    link: str
    way: Way
    at_ms: int
    for_ms: int

    def __str__(self) -> str:
        return f"{self.way} {self.link} @{self.at_ms}+{self.for_ms}"


Fault = Death | Kill | Break


class Round(msgspec.Struct, frozen=True):
    """One round: its faults, and the order in which what lies dead when the load ends is started again."""

    seed: int
    number: int
    mode: Mode
    faults: list[Fault]
    restart_order: list[str]


def mode_of(number: int) -> Mode:
    """The mode whose turn it is."""
    return MODES[number // BLOCK_ROUNDS % len(MODES)]


def scheduled(seed: int, number: int) -> Round:
    """The round of this number (from 0)."""
    mode = mode_of(number)
    chance = random.Random(f"{seed}:{number}")
    faults: list[Fault] = [*_deaths(seed, number, chance)]
    if chance.random() < BLACKOUT_CHANCE:
        at_ms = chance.randint(0, LOAD_MS)
        faults += [Kill(process, at_ms, DOWN_MS_MAX) for process in PROCESSES[mode]]
    else:
        for _ in range(chance.choices(range(len(KILLS_WEIGHTS)), KILLS_WEIGHTS)[0]):
            process = chance.choice(PROCESSES[mode])
            faults.append(Kill(process, chance.randint(0, LOAD_MS), chance.randint(0, DOWN_MS_MAX)))
    breaks = chance.choices(range(len(BREAKS_WEIGHTS)), BREAKS_WEIGHTS)[0]
    for link in chance.sample(LINKS[mode], breaks):
        for_ms = OUTLASTING_MS if chance.random() < OUTLASTING_CHANCE else chance.randint(*BROKEN_MS)
        faults.append(Break(link, chance.choice(WAYS), chance.randint(0, LOAD_MS), for_ms))
    order = list(PROCESSES[mode])
    chance.shuffle(order)
    return Round(seed, number, mode, faults, order)


def _deaths(seed: int, number: int, chance: random.Random) -> list[Death]:
    """The next cards of a deck that is shuffled anew when it is through: each step comes as often as any other."""
    first = _turn_of_mode(number) * DEATHS_PER_ROUND
    drawn = []
    for card in range(first, first + DEATHS_PER_ROUND):
        deck = list(DECK)
        random.Random(f"{seed}:{mode_of(number)}:{card // len(deck)}").shuffle(deck)
        role, step = deck[card % len(deck)]
        drawn.append(Death(role, step, chance.randint(1, NTH_MAX[role]), chance.randint(0, DOWN_MS_MAX)))
    return drawn


def _turn_of_mode(number: int) -> int:
    """How many rounds the round's mode has had before it."""
    block, within = divmod(number, BLOCK_ROUNDS)
    return block // len(MODES) * BLOCK_ROUNDS + within
