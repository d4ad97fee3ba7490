"""A service in the foreground: it stops in good order, and says whether it had got as far as running."""

import signal
from collections.abc import Iterator

import pytest

from app.foreground import run_until_told

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_the_end_of_the_start_is_told_from_one_after(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    assert not run_until_told(lambda: signal.raise_signal(number), lambda: stopped.append("early"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("app.foreground._idle", lambda: signal.raise_signal(number))
    assert run_until_told(lambda: None, lambda: stopped.append("late"))
    assert stopped == ["early", "late"]


def test_what_start_raises_is_raised_after_the_stop() -> None:
    stopped: list[str] = []

    def start() -> None:
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        run_until_told(start, lambda: stopped.append("stopped"))
    assert stopped == ["stopped"]
