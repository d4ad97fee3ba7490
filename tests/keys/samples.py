"""Fixed secrets and values for the tests of `keys`: predictable, so that a known answer stays one."""

import hashlib
from collections.abc import Callable

from keys.secrets import ServerSecrets, new_secrets, rotated

NOW = 1_634_000_000_000
"""2021-10-12, in ms; a whole second."""
DAY_MS = 86_400_000
SUBJECT = bytes(range(16))
OTHER_SUBJECT = bytes(range(16, 32))


def counting(seed: str = "test") -> Callable[[int], bytes]:
    """A stand-in for the system's randomness: every call gives other bytes, every run the same."""
    state = hashlib.sha256(seed.encode()).digest()

    def take(count: int) -> bytes:
        nonlocal state
        state = hashlib.sha256(state).digest()
        return (state * (count // len(state) + 1))[:count]

    return take


SECRETS: ServerSecrets = new_secrets(counting(), NOW)
ROTATED: ServerSecrets = rotated(SECRETS, counting("rotation"), NOW + DAY_MS)
STRANGER: ServerSecrets = new_secrets(counting("another deployment"), NOW)
