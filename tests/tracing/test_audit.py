import pytest

from events.access import Role
from events.problems import ProblemError
from storage.clickhouse import Store
from storage.errors import StoreDown
from tracing.access import new_token
from tracing.audit import Action, AuditLog, purpose_of
from tracing.saved import SavedTrace, SavedTraces

AT = 1_635_000_000_123
_, TOKEN = new_token("Bác sĩ Hà", Role.ANALYST, AT + 1, bytes)


def test_what_is_written_is_read_to_the_millisecond(store: Store) -> None:
    audit = AuditLog(store)
    audit.write(AT, TOKEN, Action.CASE_READ, "f0-1", "điều tra ca F0")
    (event,) = audit.page(10, None).items
    assert (event.at, event.actor, event.token, event.role) == (AT, "Bác sĩ Hà", TOKEN.id, Role.ANALYST)
    assert (event.action, event.object, event.purpose) == ("case-read", "f0-1", "điều tra ca F0")


def test_every_millisecond_survives_the_way_into_the_store(store: Store) -> None:
    audit = AuditLog(store)
    times = [AT + 997 * step for step in range(40)]
    for at in times:
        audit.write(at, TOKEN, Action.CASE_READ, "x", "p" * 10)
    assert [event.at for event in audit.page(100, None).items] == times[::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_give_each_event_once_newest_first_even_equal_ones(store: Store, limit: int) -> None:
    audit = AuditLog(store)
    written = [(AT + number // 4, f"case-{number % 2}") for number in range(11)]
    for at, name in written:
        audit.write(at, TOKEN, Action.CASE_READ, name, "a good purpose")
    read: list[tuple[int, str]] = []
    page = audit.page(limit, None)
    while True:
        read += [(event.at, event.object) for event in page.items]
        assert len(read) <= len(written), "the pages repeat themselves"
        if page.next is None:
            break
        assert len(page.items) == limit
        page = audit.page(limit, page.next)
    assert sorted(read) == sorted(written)
    assert [at for at, _ in read] == sorted((at for at, _ in read), reverse=True)


@pytest.mark.parametrize("cursor", ["", "x", "!!", "WzFd", "e30", "WzEsMF0", "ă"])
def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(ProblemError) as error:
        AuditLog(store).page(10, cursor)
    assert (error.value.problem.status, error.value.problem.pointer) == (422, "/cursor")


def test_a_store_that_is_down_raises_and_keeps_nothing(store: Store) -> None:
    store.command("DROP TABLE audit SYNC")
    with pytest.raises(StoreDown):
        AuditLog(store).write(AT, TOKEN, Action.CASE_READ, "x", "a good purpose")


@pytest.mark.parametrize("text", [None, "", " " * 50, "too short", "  123456789  ", "x" * 501])
def test_a_purpose_is_required(text: str | None) -> None:
    with pytest.raises(ProblemError) as error:
        purpose_of(text, pointer="/purpose")
    assert (error.value.problem.status, error.value.problem.pointer) == (422, "/purpose")
    assert error.value.problem.type.endswith("/purpose-missing")


@pytest.mark.parametrize("text", ["x" * 10, "x" * 500, "Điều tra ca"])
def test_a_purpose_is_taken_without_the_space_around_it(text: str) -> None:
    assert purpose_of(f" \n{text}\t") == text


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_saved_traces_are_listed_newest_first_and_read_to_the_byte(store: Store, limit: int) -> None:
    saved = SavedTraces(store)
    answers = {f"trace-{number}": f'{{"n":{number},"t":"Chợ \\u0000 \\" \\\\"}}'.encode() for number in range(5)}
    for number, (trace_id, answer) in enumerate(answers.items()):
        trace = SavedTrace(id=trace_id, asked_at=AT + number // 2, actor="A", fingerprint="0a" * 32)
        saved.save(trace, question=b"{}", answer=answer)
    read: list[SavedTrace] = []
    page = saved.page(limit, None)
    while True:
        read += page.items
        assert len(read) <= len(answers), "the pages repeat themselves"
        if page.next is None:
            break
        page = saved.page(limit, page.next)
    assert [trace.id for trace in read] == [f"trace-{number}" for number in (4, 3, 2, 1, 0)]
    assert {trace.fingerprint for trace in read} == {"0a" * 32}
    assert {trace_id: saved.answer(trace_id) for trace_id in answers} == answers
    assert saved.answer("trace-9") is None
