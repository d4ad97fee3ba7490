import redis

from events.control import ControlEvent, DeviceEnrolled, PlaceRegistered
from events.devices import Device
from events.places import Place
from ingest.archive import ControlArchive
from storage.clickhouse import Store
from storage.control import CONTROL_STREAM, ControlLog


def events(count: int) -> list[ControlEvent]:
    places: list[ControlEvent] = [
        PlaceRegistered(Place(id=f"p-{number}", number=number, name=f"Chợ {number}")) for number in range(1, count + 1)
    ]
    return [*places, DeviceEnrolled(Device(id="door", number=7, place="p-1"))]


def test_a_lost_stream_comes_back_event_by_event_with_its_times(valkey: "redis.Redis", store: Store) -> None:
    control = ControlLog(valkey)
    control.append_all(events(1_500))
    archive = ControlArchive(control, store)
    assert archive.step() == 1_501
    assert archive.step() == 0
    before = control.entries()

    valkey.flushall()
    assert ControlArchive(control, store).restore() == 1_501
    assert control.entries() == before
    assert (control.next_number("place"), control.next_number("device")) == (1_501, 8)


def test_a_second_archive_goes_on_where_the_first_ended(valkey: "redis.Redis", store: Store) -> None:
    control = ControlLog(valkey)
    control.append_all(events(3))
    ControlArchive(control, store).step()
    control.append_all(events(2))
    assert ControlArchive(control, store).step() == 3
    assert ControlArchive(control, store).entries() == control.entries()


def test_an_event_copied_twice_lies_there_once(valkey: "redis.Redis", store: Store) -> None:
    control = ControlLog(valkey)
    control.append_all(events(3))
    first, second = ControlArchive(control, store), ControlArchive(control, store)
    second.step()
    first.step()
    store.insert("control", ("entry", "at", "event"), [(entry, 0, text.decode()) for entry, text in control.entries()])
    assert ControlArchive(control, store).entries() == control.entries()


def test_nothing_is_put_into_a_stream_that_has_events(valkey: "redis.Redis", store: Store) -> None:
    control = ControlLog(valkey)
    control.append_all(events(2))
    archive = ControlArchive(control, store)
    archive.step()
    valkey.xtrim(CONTROL_STREAM, maxlen=1, approximate=False)
    assert archive.restore() == 0
    assert len(control.entries()) == 1
