"""Characters that nobody sees: control characters, the marks that turn the direction of text, zero-width ones."""

import unicodedata
from typing import Final

UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_unseen(char: str) -> bool:
    """Whether the character has no shape of its own and is no space."""
    return unicodedata.category(char) in UNSEEN_CATEGORIES


def unseen_in(text: str) -> str | None:
    """The first such character as `U+202E`, or None."""
    return next((f"U+{ord(char):04X}" for char in text if is_unseen(char)), None)
