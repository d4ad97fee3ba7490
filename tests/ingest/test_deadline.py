"""Many waits, one timer: each ends in time or not, whatever the others do."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from typing import TypeVarTuple

import pytest

from ingest.deadline import Deadline

SHORT_SECONDS = 0.02
LONG_SECONDS = 60.0
FORGOTTEN_SECONDS = 5.0


async def waits_too_long(deadline: Deadline) -> None:
    with deadline:
        await asyncio.sleep(FORGOTTEN_SECONDS)
    raise AssertionError("it was never interrupted")


Arguments = TypeVarTuple("Arguments")


class StoppedClock(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[float] = []
        super().__init__()

    def time(self) -> float:
        return self.now

    def call_at(
        self, when: float, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if getattr(callback, "__func__", None) is Deadline._ring:
            self.timers.append(when)
        return super().call_at(when, callback, *args, context=context)

    async def until(self, now: float) -> None:
        """Let the clock show this, and what is due by then happen."""
        self.now = now
        for _ in range(4):
            await asyncio.sleep(0)


def test_what_takes_too_long_is_interrupted() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(waits_too_long(Deadline(SHORT_SECONDS)))


def test_a_task_goes_on_after_its_deadline() -> None:
    async def twice() -> int:
        deadline = Deadline(SHORT_SECONDS)
        overdue = 0
        for _ in range(2):
            try:
                await waits_too_long(deadline)
            except TimeoutError:
                overdue += 1
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
        return overdue

    assert asyncio.run(twice()) == 2


def test_whoever_is_in_time_leaves_the_others_their_deadline() -> None:
    async def several() -> list[object]:
        deadline, done = Deadline(SHORT_SECONDS), asyncio.Event()

        async def in_time() -> str:
            with deadline:
                await done.wait()
            return "in time"

        early = asyncio.create_task(in_time())
        late = [asyncio.create_task(waits_too_long(deadline)) for _ in range(3)]
        await asyncio.sleep(0)
        done.set()
        first = await asyncio.gather(early, *late, return_exceptions=True)
        # The timer was let go when nobody waited any more: it must be there again for the next.
        return [*first, *await asyncio.gather(waits_too_long(deadline), return_exceptions=True)]

    in_time, *overdue = asyncio.run(several())
    assert in_time == "in time"
    assert [type(error) for error in overdue] == [TimeoutError] * 4


def test_a_wait_that_began_later_is_due_later() -> None:
    async def staggered() -> list[str]:
        deadline, order, loop = Deadline(0.05), list[str](), asyncio.get_running_loop()

        async def wait(name: str) -> float:
            began = loop.time()
            try:
                await waits_too_long(deadline)
            except TimeoutError:
                order.append(name)
            return loop.time() - began

        first = asyncio.create_task(wait("first"))
        await asyncio.sleep(0.03)
        second = asyncio.create_task(wait("second"))
        assert min(await asyncio.gather(first, second)) >= 0.05
        return order

    assert asyncio.run(staggered()) == ["first", "second"]


def test_somebody_elses_cancelling_stays_one() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(waits_too_long(Deadline(LONG_SECONDS)))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_an_error_within_passes() -> None:
    async def fails() -> None:
        with Deadline(LONG_SECONDS):
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(fails())


def test_an_error_in_answer_to_the_interruption_passes() -> None:
    async def fails() -> None:
        with Deadline(SHORT_SECONDS):
            try:
                await asyncio.sleep(FORGOTTEN_SECONDS)
            except asyncio.CancelledError as error:
                raise KeyError from error

    with pytest.raises(KeyError):
        asyncio.run(fails())


@pytest.mark.parametrize("cancelled_at", [1.0, 3.0], ids=["cancelled first", "rung first"])
def test_somebody_elses_cancelling_in_the_same_turn_stays_one(cancelled_at: float) -> None:
    loop = StoppedClock()

    async def both() -> None:
        task = asyncio.create_task(waits_too_long(Deadline(2.0)))
        await loop.until(0.0)
        loop.call_at(cancelled_at, task.cancel)
        await loop.until(4.0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(both())


def test_a_cancelling_that_was_over_before_is_none() -> None:
    async def goes_on() -> int:
        try:
            await asyncio.sleep(FORGOTTEN_SECONDS)
        except asyncio.CancelledError:
            with pytest.raises(TimeoutError):
                await waits_too_long(Deadline(SHORT_SECONDS))
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    async def cancelled() -> int:
        task = asyncio.create_task(goes_on())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(cancelled()) == 1


def test_there_is_one_timer_while_anybody_waits() -> None:
    loop = StoppedClock()

    async def several() -> list[BaseException | None]:
        deadline, tasks = Deadline(4.0), list[asyncio.Task[None]]()
        for now in (0.0, 2.0, 4.0, 4.25, 6.0, 20.0, 30.0):
            await loop.until(now)
            tasks.append(asyncio.create_task(waits_too_long(deadline)))
            await loop.until(now)
        await loop.until(40.0)
        return await asyncio.gather(*tasks, return_exceptions=True)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert [type(error) for error in runner.run(several())] == [TimeoutError] * 7
    assert loop.timers == [4.0, 6.0, 8.0, 24.0, 34.0]


def test_a_block_that_another_task_leaves_does_not_hide_its_cancelling() -> None:
    async def held(deadline: Deadline) -> AsyncGenerator[None, None]:
        with deadline:
            yield

    async def leaves(block: AsyncGenerator[None, None]) -> None:
        try:
            await asyncio.sleep(FORGOTTEN_SECONDS)
        except asyncio.CancelledError as error:
            await block.athrow(error)

    async def entered_here_and_left_there() -> None:
        block = held(Deadline(LONG_SECONDS))
        await anext(block)
        task = asyncio.create_task(leaves(block))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    asyncio.run(entered_here_and_left_there())


def test_only_a_task_can_wait() -> None:
    loop, faults = asyncio.new_event_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    loop.call_soon(Deadline(LONG_SECONDS).__enter__)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert [type(fault) for fault in faults] == [RuntimeError]
