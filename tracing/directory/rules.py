"""The rules by which names are shown; apart from what applies them, because the settings read their defaults here."""

import msgspec


class RevealRules(msgspec.Struct, frozen=True, kw_only=True):
    """How many names one person may see in a day (UTC), whether a second one must agree, and how long they may take."""

    per_day: int = 200
    four_eyes: bool = False
    wait_seconds: float = 28_800.0
