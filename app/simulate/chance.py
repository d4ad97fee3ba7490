"""Chance that can be repeated: a generator for every purpose, derived from the seed and the purpose's name.

A generator of its own for each person's day keeps one decision from shifting all the later ones.
"""

import hashlib
import random


def chance(*purpose: str | int) -> random.Random:
    """A generator for this purpose; the same parts give the same draws on every machine and version."""
    return random.Random("/".join(map(str, purpose)))  # noqa: S311  a play of dice, no secret


def name_of(*parts: str | int) -> str:
    """Six hex digits that stand for these parts."""
    return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=3).hexdigest()
