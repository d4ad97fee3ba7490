"""The people's personal codes, issued as an issuer would, by all cores."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

import msgspec

from app.clock import DAY_MS
from keys.codes import CODE_NONCE_BYTES, issue_person_code
from keys.secrets import ServerSecrets
from loadtests.bench.world import World

CODE_CHARS: Final = 80
"""The text of a personal code without its signature, which scanners leave off."""
ISSUERS: Final = 2
PEOPLE_PER_TASK: Final = 5_000


class _Task(msgspec.Struct, frozen=True):
    secrets: ServerSecrets
    subjects: bytes
    issued: int


def person_codes(secrets: ServerSecrets, world: World) -> bytes:
    """The code of each person of the world, `CODE_CHARS` ASCII bytes each; valid from a day before its start."""
    subjects = world.subjects()
    tasks = [
        _Task(secrets, subjects[start : start + PEOPLE_PER_TASK].tobytes(), world.start_ms - DAY_MS)
        for start in range(0, world.people, PEOPLE_PER_TASK)
    ]
    with ProcessPoolExecutor(min(ISSUERS, len(tasks)), get_context("spawn")) as pool:
        return b"".join(pool.map(_issued, tasks))


def _issued(task: _Task) -> bytes:
    return b"".join(
        issue_person_code(
            task.secrets,
            task.subjects[start : start + 16],
            vehicle=False,
            issued=task.issued,
            expires=task.issued + 3 * DAY_MS,
            nonce=os.urandom(CODE_NONCE_BYTES),
        )[:CODE_CHARS].encode("ascii")
        for start in range(0, len(task.subjects), 16)
    )
