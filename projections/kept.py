"""Since when scans are kept: what happened before counts for nobody any more, whether it is deleted yet or not."""

from events.control import Recorded, RetentionAdvanced


class Kept:
    """A fold of the control stream. One thread applies; any thread reads."""

    def __init__(self) -> None:
        self.kept_from = 0
        """What happened earlier (Unix ms) does not count. 0: all is kept."""
        self.since = 0
        """When that was recorded (Unix ms)."""

    def apply(self, recorded: Recorded) -> None:
        """Take in the next event of the control stream; the moment never goes back, for what is deleted is deleted."""
        match recorded.event:
            case RetentionAdvanced(kept_from=kept_from) if kept_from > self.kept_from:
                self.kept_from, self.since = kept_from, recorded.at
            case _:
                pass
