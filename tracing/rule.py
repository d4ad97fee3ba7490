"""Which encounters make a contact."""

import enum


class Rule(enum.StrEnum):
    """What must last `min_seconds`: all encounters of a contact together, or a single one of them."""

    TOTAL = "total"
    ENCOUNTER = "encounter"
