import os

import pytest
import redis

from events import problems
from events.access import Role
from events.problems import ProblemError
from storage.reveals import RevealBook
from tracing.access import new_token
from tracing.directory.reveals import OVER_KEPT_MS, RevealRequest, Reveals
from tracing.directory.rules import RevealRules

_, HA = new_token("Hà", Role.ANALYST, 2_000_000_000_000, os.urandom)
_, LAN = new_token("Lan", Role.ADMIN, 2_000_000_000_000, os.urandom)
WAIT_MS = 1_000_000


class Desk:
    """Reveals under a clock that stands until it is moved."""

    def __init__(self, client: "redis.Redis") -> None:
        self.now = 1_700_000_000_000
        rules = RevealRules(wait_seconds=WAIT_MS / 1000)
        self.reveals = Reveals(RevealBook(client), rules, clock=lambda: self.now, random=os.urandom)

    def asked(self) -> RevealRequest:
        self.now += 1
        request = self.reveals.ask(HA, "trace", ["0" * 32], "a good purpose")
        self.reveals.keep(request)
        return request

    def listed(self) -> list[str]:
        return [one.id for one in self.reveals.all()]


def test_a_request_that_is_over_is_forgotten_in_time(valkey: "redis.Redis") -> None:
    desk = Desk(valkey)
    first = desk.asked()
    desk.now = first.expires + OVER_KEPT_MS - 1
    assert desk.listed() == [first.id]
    desk.now += 1
    assert desk.listed() == []
    assert valkey.dbsize() == 0


def test_what_is_over_makes_room_and_what_waits_does_not(
    valkey: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracing.directory.reveals.REQUESTS_MAX", 4)
    desk = Desk(valkey)
    one, two, three, four = (desk.asked() for _ in range(4))
    with pytest.raises(ProblemError) as full:
        desk.asked()
    assert full.value.problem.name == problems.REVEALS_FULL.name
    desk.reveals.decide(two, LAN, "", approved=True)
    desk.reveals.decide(three, LAN, "", approved=False)
    five = desk.asked()
    assert desk.listed() == [five.id, four.id, two.id, one.id]
    desk.now = one.expires  # the others came later, and one may still be opened
    six = desk.asked()
    assert desk.listed() == [six.id, five.id, four.id, two.id]
