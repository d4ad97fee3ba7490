"""`ingest.rate`: what a device may send, by a clock that the test moves."""

import pytest

from events import problems
from events.problems import PROBLEM_TYPE_BASE, ProblemError
from ingest.limits import EdgeLimits
from ingest.rate import DEVICES_SWEPT_MIN, DeviceRates
from ingest.verify import Request, verify_request
from tests.ingest.scene import DOOR, LIMITS, NOW, PATH, POST, Scene, good, json_body, signed

BURST_SECONDS = 10.0
SMALL = EdgeLimits(device_requests_per_second=2.0, device_scans_per_second=100.0, device_burst_seconds=BURST_SECONDS)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> DeviceRates:
    return DeviceRates(SMALL, clock)


def wait_seconds(rates: DeviceRates, device: int) -> int:
    """How long the device is told to wait; 0 where it may send."""
    try:
        rates.require(device)
    except ProblemError as error:
        problem = error.problem
    else:
        return 0
    assert problem.type == PROBLEM_TYPE_BASE + problems.RATE_EXCEEDED.name
    assert problem.status == 429
    return problem.retry_after_seconds


def test_a_burst_then_the_rate(rates: DeviceRates, clock: Clock) -> None:
    taken = 0
    while not wait_seconds(rates, 7):
        rates.count_request(7)
        taken += 1
    assert taken == SMALL.device_requests_per_second * BURST_SECONDS + 1
    # From here on it is the rate alone: what waits as long as it is told is taken, once.
    for _ in range(5):
        clock.now += wait_seconds(rates, 7) / SMALL.device_requests_per_second
        assert wait_seconds(rates, 7) == 0
        rates.count_request(7)
        assert wait_seconds(rates, 7) == 1


def test_scans_count_by_their_number(rates: DeviceRates, clock: Clock) -> None:
    rates.count_scans(7, 1_000)
    assert wait_seconds(rates, 7) == 0
    rates.count_scans(7, 250)
    assert wait_seconds(rates, 7) == 3
    clock.now += 2.4
    assert wait_seconds(rates, 7) == 1
    clock.now += 0.1
    assert wait_seconds(rates, 7) == 0


def test_a_batch_larger_than_the_burst_is_taken(rates: DeviceRates) -> None:
    rates.require(7)
    rates.count_scans(7, 100_000)
    assert wait_seconds(rates, 7) == 100_000 / SMALL.device_scans_per_second - BURST_SECONDS


def test_devices_do_not_share(rates: DeviceRates) -> None:
    rates.count_scans(7, 100_000)
    assert wait_seconds(rates, 8) == 0


def test_rest_is_not_saved_beyond_the_burst(rates: DeviceRates, clock: Clock) -> None:
    rates.count_scans(7, 100)
    clock.now += 86_400
    rates.count_scans(7, 1_001)
    assert wait_seconds(rates, 7) == 1


def test_the_worse_of_the_two_is_named(rates: DeviceRates) -> None:
    rates.count_scans(7, 2_000)
    with pytest.raises(ProblemError) as scans:
        rates.require(7)
    assert "100 scans" in scans.value.problem.detail
    for _ in range(60):
        rates.count_request(7)
    with pytest.raises(ProblemError) as requests:
        rates.require(7)
    assert "2 requests" in requests.value.problem.detail


def test_who_owes_nothing_takes_no_memory(rates: DeviceRates, clock: Clock) -> None:
    rates.count_scans(0, 100_000)
    for device in range(1, 20 * DEVICES_SWEPT_MIN):
        clock.now += 0.01
        rates.count_request(device)
    # Each owes for half a second, in which 50 come.
    assert len(rates) <= DEVICES_SWEPT_MIN
    assert wait_seconds(rates, 0)


def test_a_backlog_in_full_batches_is_not_hurt(clock: Clock) -> None:
    rates = DeviceRates(LIMITS, clock)
    for _ in range(100):  # half a million scans as fast as they can be sent
        rates.require(7)
        rates.count_request(7)
        rates.count_scans(7, 5_000)


def test_it_is_asked_before_the_signature_is_checked_and_names_the_device() -> None:
    scene, body, asked = Scene(), json_body(good()), list[int]()
    headers = signed(body)
    request = Request("POST", PATH, "", "", headers, body)
    verify_request(request, scene.keyring, NOW, LIMITS, asked.append)
    assert asked == [DOOR.number]

    rates = DeviceRates(SMALL, Clock())
    rates.count_scans(DOOR.number, 100_000)
    forged = Request("POST", PATH, "", "", headers, body + b" ")
    with pytest.raises(ProblemError, match=problems.RATE_EXCEEDED.title):
        verify_request(forged, scene.keyring, NOW, LIMITS, rates.require)
    other = signed(body, device=POST.id)
    verify_request(Request("POST", PATH, "", "", other, body), scene.keyring, NOW, LIMITS, rates.require)
