"""Many waits, one timer: each ends in time or not, whatever the others do."""

import asyncio

import pytest

from ingest.deadline import Deadline

SHORT_SECONDS = 0.02
LONG_SECONDS = 60.0
FORGOTTEN_SECONDS = 5.0


async def waits_too_long(deadline: Deadline) -> None:
    with deadline:
        await asyncio.sleep(FORGOTTEN_SECONDS)
    raise AssertionError("it was never interrupted")


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
