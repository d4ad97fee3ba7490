"""How many users there are over the course of a run. Pure: the share of the run that is over gives the share of users.

A reconnect storm is more than its users: they are cut off until `RECONNECT_AT`, then all send what they have gathered.
"""

import enum
import math
from typing import Final

RAMP: Final = 0.1
"""The share of a steady run in which its users come."""
MORNING_BASE: Final = 0.1
MORNING_PEAK_AT: Final = 0.45
MORNING_WIDTH: Final = 0.17
"""The standard deviation of the peak, as a share of the run: most people arrive within a third of it."""
STORM_GATHERED: Final = 0.2
"""The share of a storm's run in which its users come, each cut off."""
RECONNECT_AT: Final = 0.3


class Shape(enum.StrEnum):
    """The courses that a run can take."""

    STEADY = "steady"
    MORNING_PEAK = "morning-peak"
    RECONNECT_STORM = "reconnect-storm"


def share_of_users(shape: Shape, share_of_run: float) -> float:
    """How large a part of all users there is, from 0 to 1, when that part of the run (0 to 1) is over."""
    match shape:
        case Shape.STEADY:
            return min(share_of_run / RAMP, 1.0)
        case Shape.MORNING_PEAK:
            peak = math.exp(-(((share_of_run - MORNING_PEAK_AT) / MORNING_WIDTH) ** 2) / 2)
            return MORNING_BASE + (1 - MORNING_BASE) * peak
        case Shape.RECONNECT_STORM:
            return min(share_of_run / STORM_GATHERED, 1.0)
