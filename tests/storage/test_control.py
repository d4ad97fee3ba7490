import asyncio

import msgspec
import pytest
import redis
import redis.asyncio

from events.control import CodeRevoked, ControlEvent, PlaceRegistered, Recorded
from events.places import Place
from storage.control import CONTROL_STREAM, ControlFollower, ControlLog, follow

WAIT_SECONDS_MAX = 10.0


def place(number: int) -> PlaceRegistered:
    return PlaceRegistered(Place(id=f"place-{number}", number=number, name=f"Chợ {number}"))


def test_events_come_back_in_order_with_their_time(valkey: "redis.Redis") -> None:
    control = ControlLog(valkey)
    events: list[ControlEvent] = [place(1), place(2), CodeRevoked("0" * 24)]
    appended = control.append_all(events)
    replayed = [recorded for _, recorded in control.replay()]
    assert replayed == appended
    assert [recorded.event for recorded in replayed] == events
    assert [recorded.at for recorded in replayed] == sorted(recorded.at for recorded in replayed)


def test_an_event_that_breaks_its_limits_is_not_appended(valkey: "redis.Redis") -> None:
    with pytest.raises(msgspec.ValidationError):
        ControlLog(valkey).append_all([place(1), PlaceRegistered(Place(id="UPPER", number=2, name="x"))])
    assert valkey.xlen(CONTROL_STREAM) == 0


def test_numbers_are_given_once(valkey: "redis.Redis") -> None:
    control = ControlLog(valkey)
    assert [control.next_number("place") for _ in range(3)] == [1, 2, 3]
    assert control.next_number("device") == 1


def test_a_follower_has_replayed_when_started_and_then_keeps_up(valkey: "redis.Redis") -> None:
    control = ControlLog(valkey)
    control.append_all([place(number) for number in range(1, 2_501)])
    seen: list[Recorded] = []
    follower = ControlFollower(valkey, seen.append)
    follower.start()
    assert len(seen) == 2_500
    control.append(place(3_000))
    assert follower.catch_up(WAIT_SECONDS_MAX)
    assert seen[-1].event == place(3_000)
    follower.stop()


def test_a_follower_tells_why_it_ended(valkey: "redis.Redis") -> None:
    told: list[Exception] = []
    follower = ControlFollower(valkey, lambda recorded: None, told.append)
    follower.start()
    valkey.xadd(CONTROL_STREAM, {"e": b'{"type":"from-the-future.v9"}'})
    follower.join(WAIT_SECONDS_MAX)
    assert [type(error) for error in told] == [msgspec.ValidationError]


def test_an_event_loop_follows_too(redis_url: str, valkey: "redis.Redis") -> None:
    ControlLog(valkey).append_all([place(number) for number in range(1, 1_201)])

    async def scenario() -> list[Recorded]:
        seen: list[Recorded] = []
        ready, enough = asyncio.Event(), asyncio.Event()

        def on_event(recorded: Recorded) -> None:
            seen.append(recorded)
            if len(seen) == 1_201:
                enough.set()

        async with redis.asyncio.Redis.from_url(redis_url) as client:
            task = asyncio.create_task(follow(client, on_event, ready))
            await asyncio.wait_for(ready.wait(), WAIT_SECONDS_MAX)
            assert len(seen) == 1_200
            await asyncio.to_thread(ControlLog(valkey).append, place(2_000))
            await asyncio.wait_for(enough.wait(), WAIT_SECONDS_MAX)
            task.cancel()
        return seen

    assert [recorded.event for recorded in asyncio.run(scenario())][-1] == place(2_000)
