"""How fast one device may send: beyond it the edge says 429, so that no device takes what the others need.

Each request and each scan costs its device time: the inverse of the rate. What a device owes runs down by itself, a
second each second, and it may owe some seconds before it is told to wait (the virtual scheduling form of the generic
cell rate algorithm, ITU-T I.371, annex A). A cost is added after the question, because a batch's scans are counted
only when it is decoded: a batch is never too large to be taken, and the next one waits for it.

Asked before the signature is checked, so that whoever sends too much costs little, but charged only after it: nobody
can use up another's rate. Each worker process keeps its own account.
"""

import math
import time
from collections.abc import Callable
from typing import Final

import msgspec

from events import problems
from events.problems import ProblemError
from ingest.limits import EdgeLimits

DEVICES_SWEPT_MIN: Final = 1_024
"""Below so many accounts none is dropped; above, they are looked through whenever their number has doubled."""


class Account(msgspec.Struct):
    """When a device owes nothing any more, in the clock's seconds: for its requests, and for its scans."""

    requests: float
    scans: float


class DeviceRates:
    """What the devices of one worker owe. For one thread; holds accounts of those alone that owe something.

    `clock` gives seconds that never run backwards.
    """

    def __init__(self, limits: EdgeLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits: Final = limits
        self._request_seconds: Final = 1 / limits.device_requests_per_second
        self._scan_seconds: Final = 1 / limits.device_scans_per_second
        self._clock: Final = clock
        self._accounts: Final[dict[int, Account]] = {}
        self._sweep_at = DEVICES_SWEPT_MIN

    def require(self, device: int) -> None:
        """Return where the device of this number may send now. Raises `ProblemError`: rate-exceeded."""
        account = self._accounts.get(device)
        if account is None:
            return
        limits = self._limits
        wait = max(account.requests, account.scans) - self._clock() - limits.device_burst_seconds
        if wait > 0:
            if account.requests > account.scans:
                rate = f"{limits.device_requests_per_second:g} requests"
            else:
                rate = f"{limits.device_scans_per_second:g} scans"
            detail = f"It has sent more than {rate} a second and {limits.device_burst_seconds:g} s' worth beyond that."
            raise ProblemError(problems.RATE_EXCEEDED.problem(detail, retry_after_seconds=math.ceil(wait)))

    def count_request(self, device: int) -> None:
        """Charge a request whose signature held."""
        account = self._account(device)
        account.requests = max(account.requests, self._clock()) + self._request_seconds

    def count_scans(self, device: int, scans: int) -> None:
        """Charge the scans of such a request."""
        account = self._account(device)
        account.scans = max(account.scans, self._clock()) + scans * self._scan_seconds

    def __len__(self) -> int:
        """How many accounts are held."""
        return len(self._accounts)

    def _account(self, device: int) -> Account:
        account = self._accounts.get(device)
        if account is None:
            if len(self._accounts) >= self._sweep_at:
                self._sweep()
            account = self._accounts[device] = Account(0.0, 0.0)
        return account

    def _sweep(self) -> None:
        now = self._clock()
        for device in [number for number, owed in self._accounts.items() if max(owed.requests, owed.scans) <= now]:
            del self._accounts[device]
        self._sweep_at = max(DEVICES_SWEPT_MIN, 2 * len(self._accounts))
