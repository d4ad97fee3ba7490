"""Up to where stays are settled, told and asked for; nobody believes a mark of another form of the table."""

import redis

from events import codec
from storage.settled import SETTLED, SettledMark, SettledMarks

MARK = SettledMark(20, 3, 10, (7,))


def test_what_is_told_is_read_until_it_holds_no_more(valkey: "redis.Redis") -> None:
    marks = SettledMarks(valkey)
    assert marks.read() is None
    marks.publish(MARK)
    assert marks.read() == MARK
    marks.publish(None)
    assert marks.read() is None


def test_a_mark_that_somebody_of_before_tells_is_not_believed(valkey: "redis.Redis") -> None:
    """It is of a table that a migration has emptied since."""
    valkey.set(SETTLED, codec.to_json(MARK))
    assert SettledMarks(valkey).read() is None
