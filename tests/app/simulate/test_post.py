"""A receipt that is not what it must be does not pass."""

import pytest

from app.simulate.delivery import Parcel
from app.simulate.post import surprise_in
from app.simulate.world import World
from events.scans import Receipt, Verdict


def receipt(parcel: Parcel, *, accepted: int, refused: dict[int, str], seen_to: int | None = None) -> Receipt:
    return Receipt(
        batch="1-0",
        accepted=accepted,
        duplicate=len(parcel.taken) - accepted - len(refused),
        refused=len(refused),
        next_seq=1,
        seen_to=parcel.taken[-1].seq if seen_to is None else seen_to,
        verdicts=[Verdict(seq, verdict, "") for seq, verdict in refused.items()],
    )


@pytest.fixture
def stale(busy_world: World) -> Parcel:
    """A parcel with an expired code in it."""
    return next(parcel for parcel in busy_world.parcels if any(taken.attempt.stale for taken in parcel.taken))


@pytest.fixture
def good(busy_world: World) -> Parcel:
    """A parcel that is accepted whole."""
    return next(parcel for parcel in busy_world.parcels if not any(taken.attempt.stale for taken in parcel.taken))


def test_accepted_or_duplicate_is_no_surprise(good: Parcel) -> None:
    assert surprise_in(good, receipt(good, accepted=len(good.taken), refused={})) == ""
    assert surprise_in(good, receipt(good, accepted=0, refused={})) == ""


def test_a_good_scan_refused_is_a_surprise(good: Parcel) -> None:
    first = good.taken[0].seq
    assert "bad_code" in surprise_in(good, receipt(good, accepted=len(good.taken) - 1, refused={first: "bad_code"}))


def test_an_expired_code_must_be_refused_and_as_expired(stale: Parcel) -> None:
    expired = {taken.seq: "expired_code" for taken in stale.taken if taken.attempt.stale}
    rest = len(stale.taken) - len(expired)
    assert surprise_in(stale, receipt(stale, accepted=rest, refused=expired)) == ""
    assert surprise_in(stale, receipt(stale, accepted=len(stale.taken), refused={}))
    assert surprise_in(stale, receipt(stale, accepted=rest, refused=dict.fromkeys(expired, "revoked_code")))


def test_a_receipt_that_does_not_add_up_or_lags_is_a_surprise(good: Parcel) -> None:
    assert "seen" in surprise_in(good, receipt(good, accepted=len(good.taken), refused={}, seen_to=0))
    wrong = Receipt(batch="", accepted=0, duplicate=0, refused=0, next_seq=1, seen_to=2**40, verdicts=[])
    assert "add up" in surprise_in(good, wrong)
