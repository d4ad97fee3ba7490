"""The table of `truyvet trace` says through whom a contact's contact was reached."""

import msgspec
import pytest

from app.commands.trace import contact_table
from app.commands.trace_chain import COLUMN, through
from app.terminal import show
from tests.tracing.exports.samples import F0, HOUR, START, contact, met, small
from tracing.answer import Answer

EARLY, LATE = START, START + HOUR


def shown_rows(found: Answer, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(contact_table(found, {}))
    return capsys.readouterr().out.splitlines()


def test_of_a_chain_it_names_the_case_and_the_contacts_who_lead_there(capsys: pytest.CaptureFixture[str]) -> None:
    found = small()
    lines = shown_rows(found, capsys)
    assert COLUMN in lines[1]
    by_subject = {each.subject: next(line for line in lines if each.subject in line) for each in found.contacts}
    first, second, reached = found.contacts
    assert all("case-ff" in by_subject[each.subject] for each in (first, second))
    assert f"{first.subject[:8]}…, {second.subject[:8]}…" in by_subject[reached.subject]
    assert "case-ff" not in by_subject[reached.subject]


def test_of_one_step_or_without_evidence_there_is_nothing_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    whole = small()
    near = msgspec.structs.replace(whole, contacts=whole.contacts[:2])
    bare = [msgspec.structs.replace(each, via=(), intervals=(), encounters=()) for each in whole.contacts]
    for found in (near, msgspec.structs.replace(whole, contacts=tuple(bare))):
        assert COLUMN not in "\n".join(shown_rows(found, capsys))


def test_of_many_the_earliest_are_named_and_the_others_counted() -> None:
    sources = [f"{number:x}" * 32 for number in range(1, 5)]
    times = [LATE, EARLY, LATE + 1, LATE + 2]
    reached = contact("c" * 32, 2, *(met(each, "mall", at, at + HOUR) for each, at in zip(sources, times, strict=True)))
    assert through(reached, {}) == f"{'2' * 8}…, {'1' * 8}… and 2 more"
    assert through(reached, {sources[1]: "f0-1, f0-9"}) == f"f0-1, f0-9, {'1' * 8}… and 2 more"
    assert through(contact("d" * 32, 1, met(F0, "mall", EARLY, LATE)), {}) == f"{'f' * 8}…"
