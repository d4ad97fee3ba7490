"""Every way in which the log may differ from what was acknowledged, and what is no difference."""

from dataclasses import dataclass

import msgspec
import pytest

from events.scans import How, Kind
from loadtests.load.ledger import NOBODY, Attested, Batch
from loadtests.load.reconcile import Account, Logged, Wrong, wrongs_of

SENT = Attested(7, 1_635_000_000_000, Kind.IN, How.CODE, "load-door-7", "0a" * 16)


def logged(received: int = 1_635_000_000_100, **changes: object) -> Logged:
    """A delivery of the scan that was sent, with changes."""
    same = Logged(SENT.seq, SENT.at, received, SENT.kind, SENT.how, SENT.place, SENT.subject)
    return msgspec.structs.replace(same, **changes)


@dataclass
class Case:
    """A scan's verdict (None: no answer), how it was sent, and the log's deliveries."""

    verdict: str | None
    deliveries: list[Logged]
    wrong: list[Wrong]
    signings: int = 1
    sends: int = 1


CASES = {
    "accepted and there": Case("accepted", [logged()], []),
    "accepted and gone": Case("accepted", [], [Wrong.LOST]),
    "duplicate and gone": Case("duplicate", [], [Wrong.LOST]),
    "never answered and not taken": Case(None, [], []),
    "never answered and taken all the same": Case(None, [logged()], []),
    "never answered and taken twice": Case(None, [logged(), logged(2)], [Wrong.DOUBLED]),
    "sent once and there twice": Case("accepted", [logged(), logged(2)], [Wrong.DOUBLED]),
    "signed twice and there twice": Case("duplicate", [logged(), logged(2)], [], signings=2, sends=2),
    "signed twice and there thrice": Case(
        "duplicate", [logged(), logged(2), logged(3)], [Wrong.DOUBLED], signings=2, sends=2
    ),
    "the same request sent twice and there twice": Case("duplicate", [logged(), logged(2)], [Wrong.DOUBLED], sends=2),
    "turned away and there all the same": Case(None, [logged()], [Wrong.DOUBLED], signings=0),
    "another time": Case("accepted", [logged(at=SENT.at + 1)], [Wrong.ALTERED]),
    "another place": Case("accepted", [logged(place="load-door-8")], [Wrong.ALTERED]),
    "another person": Case("accepted", [logged(subject="0b" * 16)], [Wrong.ALTERED]),
    "another kind": Case("accepted", [logged(kind=Kind.OUT)], [Wrong.ALTERED]),
    "named in another way": Case("accepted", [logged(how=How.SUBJECT)], [Wrong.ALTERED]),
    "the second delivery differs": Case("duplicate", [logged(), logged(2, at=3)], [Wrong.ALTERED], signings=2, sends=2),
    "refused and not there": Case("bad_code", [], []),
    "refused and there": Case("bad_code", [logged()], [Wrong.ALTERED]),
    "refused the second time": Case("unknown_place", [logged()], [], signings=2, sends=2),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_scan(case: Case) -> None:
    verdicts = None if case.verdict is None else {SENT.seq: case.verdict} if case.verdict != "accepted" else {}
    batch = Batch([SENT], case.sends, case.signings, verdicts)
    found = wrongs_of(SENT, case.verdict, batch, case.deliveries)
    assert [wrong for wrong, _ in found] == case.wrong


def test_nothing_that_names_a_person_is_told() -> None:
    found = wrongs_of(SENT, "accepted", Batch([SENT], 1, 1, {}), [logged(subject="0b" * 16, at=1)])
    assert found == [(Wrong.ALTERED, "at, subject differ from what was sent")]


def test_what_cannot_be_read_must_not_be_taken() -> None:
    unreadable = msgspec.structs.replace(SENT, subject=NOBODY)
    found = wrongs_of(unreadable, "accepted", Batch([unreadable], 1, 1, {}), [logged()])
    assert [wrong for wrong, _ in found] == [Wrong.ALTERED]


def test_the_sums_of_a_device() -> None:
    scans = [msgspec.structs.replace(SENT, seq=seq) for seq in range(1, 7)]
    batches = [
        Batch(scans[:4], 2, 2, {2: "duplicate", 3: "bad_code"}),
        Batch(scans[4:5], 1, 1, None),
        Batch(scans[5:], 1, 1, {}),
    ]
    account = Account()
    log = [logged(seq=1), logged(2, seq=1), logged(seq=2), logged(seq=4), logged(seq=9)]
    found = account.reconcile("load-door-1", batches, log)
    assert [(one.wrong, one.seq) for one in found] == [(Wrong.LOST, 6), (Wrong.ALTERED, 9)]
    assert account == Account(
        devices=1,
        batches=3,
        scans=6,
        accepted=3,
        duplicate=1,
        refused={"bad_code": 1},
        unanswered=1,
        deliveries=5,
        repeated=1,
        lost=1,
        doubled=0,
        altered=1,
    )
    assert (account.acknowledged, account.wrong) == (5, 2)
