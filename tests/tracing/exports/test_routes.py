"""Exports over HTTP: of a real trace in real servers, recorded, refused, sent while they are written."""

import contextlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import icalendar
import msgspec
import pandas
import pytest
import redis

from events import codec, problems
from events.access import Role
from events.problems import ProblemError
from storage.clickhouse import Store, migrate
from storage.saved_traces import PIECE_BYTES
from storage.valkey import EmbeddedValkey
from tests.app.conftest import until
from tests.tracing.desk import AN, BINH, PURPOSE, Desk, now_ms
from tests.tracing.exports.samples import F0, HOUR, START, answer, contact, known, met, pseudonym
from tests.tracing.test_routes import CASE, is_problem, three_visits
from tracing.exports.formats import Format
from tracing.exports.json_lines import answer_pieces
from tracing.exports.source import Source, saved_source
from tracing.exports.turns import EXPORTS_AT_ONCE_MAX, Turn
from tracing.saved import SavedTrace

NOBODY = "0" * 32


@pytest.fixture(scope="module")
def desk(valkey_server: EmbeddedValkey, chdb_url: str) -> Iterator[Desk]:
    """One for all tests here, which leave it as good as they found it."""
    store = Store(chdb_url, database="test_exports")
    migrate(store)
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
        with Desk(client, store).running() as desk:
            yield desk
    store.command(f"DROP DATABASE {store.database} SYNC")
    store.close()


@pytest.fixture(scope="module")
def start(desk: Desk) -> int:
    """When AN, who is case f0-1, came to the mall and met BINH (Unix ms)."""
    at = three_visits(desk)
    desk.ask("POST", "/v1/cases", json=CASE | {"confirmed_at": now_ms()})
    return at


@pytest.fixture(scope="module")
def trace(desk: Desk, start: int) -> str:
    """The id of the saved trace that says so."""
    return asked_again(desk)


def asked_again(desk: Desk) -> str:
    answer = desk.ask("POST", "/v1/traces", json={"index": {"cases": ["f0-1"]}, "purpose": PURPOSE})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_of(data: bytes) -> Any:
    return json.loads(unpacked(data)["manifest.json"])


def exported(desk: Desk, purpose: str) -> list[tuple[str, str, str]]:
    """What the audit log has of exports for this purpose."""
    return [event for event in desk.audited() if event[0].endswith("-exported") and event[2] == purpose]


@pytest.mark.parametrize("format", list(Format))
def test_a_saved_trace_comes_in_every_format_and_each_look_is_recorded(desk: Desk, trace: str, format: Format) -> None:
    purpose = f"{PURPOSE}, {format}"
    answer = desk.ask("GET", f"/v1/traces/{trace}/export/{format}", purpose=purpose)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="truyvet-{trace}-{format}.zip"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert manifest_of(answer.content)["traces"][0]["id"] == trace
    assert exported(desk, purpose) == [("trace-exported", trace, purpose)]


def test_the_files_say_what_the_trace_says_with_names_of_places_and_none_of_people(desk: Desk, trace: str) -> None:
    files = unpacked(desk.ask("GET", f"/v1/traces/{trace}/export/csv", purpose=PURPOSE).content)
    people = pandas.read_csv(io.BytesIO(files["linelist.csv"]), dtype=str)
    assert people[["id", "role"]].to_numpy().tolist() == [[AN.hex(), "F0"], [BINH.hex(), "F1"]]
    met = pandas.read_csv(io.BytesIO(files["contacts.csv"]), dtype=str)
    (ends,) = met[["from", "to", "place", "place_name"]].drop_duplicates().to_numpy().tolist()
    assert ends == [AN.hex(), BINH.hex(), "mall", "Trung tâm Đống Đa"]
    assert "name" not in people.columns


def test_what_cannot_be_exported_is_its_own_problem(desk: Desk, trace: str) -> None:
    recorded = len(desk.audited())

    def asked(path: str, **more: Any) -> Any:
        return desk.ask("GET", path, **{"purpose": PURPOSE, **more})

    assert is_problem(asked(f"/v1/traces/{trace}/export/pdf"), problems.EXPORT_FORMAT_UNKNOWN)
    assert is_problem(asked(f"/v1/traces/{NOBODY}/export/csv"), problems.NOT_FOUND)
    assert is_problem(asked(f"/v1/traces/{trace}/export/csv", purpose=None), problems.PURPOSE_MISSING)
    assert is_problem(asked(f"/v1/traces/{trace}/export/csv", role=Role.OFFICER), problems.ROLE_FORBIDDEN)
    assert is_problem(asked("/v1/cases/none/timeline"), problems.NOT_FOUND)
    answer = asked("/v1/cases/f0-1/timeline", params={"from": 2_000, "to": 1_000})
    assert is_problem(answer, problems.WINDOW_REVERSED, "/to")
    assert len(desk.audited()) == recorded


def test_several_traces_come_in_one_archive_and_are_recorded_each(desk: Desk, trace: str) -> None:
    second, purpose = asked_again(desk), "Two traces in one archive"
    asked = {"traces": [trace, second, trace], "format": "jsonl", "purpose": purpose}
    answer = desk.ask("POST", "/v1/exports", json=asked)
    assert answer.status_code == 200, answer.text
    assert {name.partition("/")[0] for name in unpacked(answer.content)} == {trace, second, "manifest.json"}
    recorded = [("trace-exported", trace, purpose), ("trace-exported", second, purpose)]
    assert exported(desk, purpose) == recorded
    for change, pointer in (
        ({"traces": []}, "/traces"),
        ({"traces": ["../x"]}, "/traces/0"),
        ({"traces": [trace] * 21}, "/traces"),
        ({"format": "pdf"}, "/format"),
    ):
        assert is_problem(desk.ask("POST", "/v1/exports", json=asked | change), problems.BODY_INVALID, pointer)
    unknown = desk.ask("POST", "/v1/exports", json=asked | {"traces": [trace, NOBODY]})
    assert is_problem(unknown, problems.NOT_FOUND)
    assert exported(desk, purpose) == recorded


def test_a_case_s_days_come_as_a_calendar(desk: Desk, start: int) -> None:
    purpose = "The days of a case"
    answer = desk.ask("GET", "/v1/cases/f0-1/timeline", purpose=purpose)
    assert answer.status_code == 200, answer.text
    calendar: Any = icalendar.Calendar.from_ical(unpacked(answer.content)["timeline.ics"])
    events = calendar.walk("VEVENT")
    assert {str(event["SUMMARY"]) for event in events} == {"Trung tâm Đống Đa"}
    assert min(event.start for event in events) == datetime.fromtimestamp(start // 1000, UTC)
    assert manifest_of(answer.content)["case"] == "f0-1"
    assert exported(desk, purpose) == [("timeline-exported", "f0-1", purpose)]


def test_no_more_run_at_once_than_may_and_turns_are_given_back(desk: Desk, trace: str) -> None:
    path = f"/v1/traces/{trace}/export/csv"
    for _ in range(2 * EXPORTS_AT_ONCE_MAX):
        assert desk.ask("GET", path, purpose=PURPOSE).status_code == 200
        assert desk.ask("GET", f"/v1/traces/{NOBODY}/export/csv", purpose=PURPOSE).status_code == 404
        # A turn ends once the service knows that the last byte is sent, which the client may know sooner.
        taken = until(lambda: all_turns(desk))
        while taken:
            taken.pop().end()
    taken = until(lambda: all_turns(desk))
    assert is_problem(desk.ask("GET", path, purpose=PURPOSE), problems.EXPORTS_FULL)
    taken.pop().end()
    assert desk.ask("GET", path, purpose=PURPOSE).status_code == 200
    taken.pop().end()


def all_turns(desk: Desk) -> list[Turn] | None:
    """Every turn, or none where somebody has one."""
    taken: list[Turn] = []
    with contextlib.suppress(ProblemError):
        while len(taken) < EXPORTS_AT_ONCE_MAX:
            taken.append(desk.parts.export_turns.take())
        return taken
    while taken:
        taken.pop().end()
    return None


def test_what_cannot_be_recorded_is_not_sent(desk: Desk, trace: str) -> None:
    desk.spoil_audit()
    answer = desk.ask("GET", f"/v1/traces/{trace}/export/csv", purpose=PURPOSE)
    desk.mend_audit()
    assert answer.status_code == 503


def test_an_answer_of_many_pieces_is_exported_whole_and_read_by_pages(desk: Desk) -> None:
    count = 3 * PIECE_BYTES // 600
    saved = msgspec.structs.replace(
        answer(*(contact(pseudonym(n), 1, met(F0, "Chợ Bến Thành", START, START + HOUR)) for n in range(count))),
        id="cd" * 16,
    )
    text = codec.to_json(saved)
    assert len(text) > 2 * PIECE_BYTES
    listed = SavedTrace(id=saved.id, asked_at=saved.asked_at, actor="An", fingerprint=saved.fingerprint)
    desk.parts.saved.save(listed, question=codec.to_json(saved.question), answer=text)
    files = unpacked(desk.ask("GET", f"/v1/traces/{saved.id}/export/jsonl", purpose=PURPOSE).content)
    people = [json.loads(line) for line in files["linelist.jsonl"].splitlines()]
    assert [one["id"] for one in people] == [F0, *(one.subject for one in saved.contacts)]
    whole = Source(saved_source(lambda: [text], known()).head, known(), lambda: saved.contacts)
    assert files["answer.jsonl"] == b"".join(answer_pieces(whole, Counter()))
    assert desk.ask("GET", f"/v1/traces/{saved.id}", purpose=PURPOSE).content == text
    params: dict[str, Any] = {"limit": count // 3}
    found = []
    while "cursor" not in params or params["cursor"]:
        page = desk.ask("GET", f"/v1/traces/{saved.id}/contacts", params=params, purpose=PURPOSE).json()
        found += page["items"]
        params["cursor"] = page["next"]
    assert found == json.loads(text)["contacts"]
    foreign = desk.ask("GET", f"/v1/traces/{saved.id}/contacts", params={"cursor": "WzFd"}, purpose=PURPOSE)
    assert is_problem(foreign, problems.QUESTION_INVALID, "/cursor")
