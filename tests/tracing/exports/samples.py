"""Answers to be exported, as they are saved: small ones by hand, odd ones drawn, big ones generated."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from events import codec
from events.places import Category, Place
from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.answer import Answer, AnsweredContact, AnsweredIndex, CutOff
from tracing.chain import Edge
from tracing.exports.archive import archive_pieces
from tracing.exports.formats import Format, content_of
from tracing.exports.source import Known, Source, saved_source
from tracing.overlap import Encounter, united
from tracing.question import IndexSubject, ResolvedQuestion
from tracing.rule import Rule

START: Final = 1_634_860_800_000
HOUR: Final = 3_600_000
TRACE: Final = "ab" * 16
PIECE: Final = 97
F0: Final = "f" * 32
NASTY: Final = (
    *('=HYPERLINK("http://x")', "+84 1", "-1+1", "@cmd", "\t=1", "'quoted", 'a "b"; c, d', "line\r\nbreak"),
    *("Chợ Bến Thành", "3-4", "1e5", "<b>&amp;</b>", "_x0041_", "\x00\x0b", "\ufffe", " padded ", "😷", "000123"),
)
"""Names that have broken exports before."""


def pseudonym(number: int) -> str:
    """A pseudonym of digits alone: what a spreadsheet takes for a number."""
    return f"{number:032d}"


def stay(place: str, start: int, end: int, seq: int, entry: str = "measured", exit: str = "moved") -> Stay:
    """A stay that one scan proves."""
    return Stay(place, start, end, EntryKnown(entry), ExitKnown(exit), (("door-1", seq), ("door-1", seq + 1)))


def met(index: str, place: str, start: int, end: int, *, exit: str = "moved") -> Encounter:
    """An encounter that lasts as long as both stays."""
    there = stay(place, start, end, start // 1000 % 1_000_000, exit=exit)
    return Encounter(index, place, start, end, end - start, 0, there, there)


def contact(subject: str, depth: int, *encounters: Encounter) -> AnsweredContact:
    """Whoever had these encounters."""
    together = united(subject, encounters)
    first: dict[str, int] = {}
    for one in together.encounters:
        first[one.index] = min(one.start, first.get(one.index, one.start))
    return AnsweredContact(
        subject=subject,
        depth=depth,
        seconds=together.ms / 1000,
        ms=together.ms,
        first=together.first,
        last=together.last,
        via=tuple(Edge(index, first[index]) for index in sorted(first)),
        intervals=together.intervals,
        encounters=together.encounters,
    )


def answer(*contacts: AnsweredContact, depth: int = 2, index: tuple[str, ...] = (F0,)) -> Answer:
    """The answer that these contacts are."""
    to = START + 100 * HOUR
    question = ResolvedQuestion(
        index=tuple(IndexSubject(subject=each, cases=(f"case-{each[:2]}",), from_=START, to=to) for each in index),
        lag_seconds=900,
        min_seconds=900.5,
        rule=Rule.TOTAL,
        as_of=to,
        depth=depth,
        latency_seconds=0,
    )
    return Answer(
        id=TRACE,
        asked_at=to,
        fingerprint="0f" * 32,
        question=question,
        cut_off=CutOff(as_of=to, read_to=to),
        index=tuple(
            AnsweredIndex(subject=each.subject, cases=each.cases, from_=each.from_, to=each.to, stays=2)
            for each in question.index
        ),
        index_without_scans=(),
        scans_without_place=0,
        contacts=contacts,
    )


def known(**names: str) -> Known:
    """A registry of places that are called so; the first one's coordinates are registered."""
    places = {
        place: Place(
            id=place,
            number=number,
            name=name,
            category=Category.MARKET,
            province="79",
            latitude=10.77 if number == 0 else None,
            longitude=106.7 if number == 0 else None,
        )
        for number, (place, name) in enumerate(names.items())
    }
    return Known(place=places.get, confirmed_at=lambda case: START + HOUR if case == "case-ff" else None)


def source_of(saved: Answer | bytes, registry: Known | None = None, piece: int = PIECE) -> Source:
    """The saved answer as it is read: in small pieces."""
    text = codec.to_json(saved) if isinstance(saved, Answer) else saved

    def pieces() -> Iterator[bytes]:
        return (text[start : start + piece] for start in range(0, len(text), piece))

    return saved_source(pieces, registry or known())


def spoiled(saved: Answer, position: int, **change: object) -> bytes:
    """The saved answer with fields of one contact overwritten."""
    text: dict[str, Any] = msgspec.json.decode(codec.to_json(saved))
    text["contacts"][position] |= change
    return msgspec.json.encode(text)


def exported(source: Source, format: Format) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of an export by name, and its manifest, which they agree with."""
    archive = b"".join(archive_pieces(format, [content_of(format, source)], START))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        files = {name: opened.read(name) for name in opened.namelist()}
    return files, json.loads(files.pop("manifest.json"))


def small() -> Answer:
    """An F0 who met two people at two places, one of whom met a third; all kinds of ends."""
    early, late = START + HOUR, START + 30 * HOUR
    a, b, c = pseudonym(1), "1" * 15 + "e" + "2" * 16, "c" * 32
    return answer(
        contact(a, 1, met(F0, "market", early, early + HOUR), met(F0, "row", early + 60_000, early + 120_000)),
        contact(b, 1, met(F0, "mall", late, late + 950_250, exit="dwell")),
        contact(c, 2, met(a, "mall", late, late + HOUR), met(b, "mall", late, late + HOUR, exit="open")),
    )


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Any answer: F0 and F1 and F2 who met often or once, at up to four places."""
    index = (F0, "e" * 32)[: draw(st.integers(1, 2))]
    ones = [pseudonym(number) for number in range(draw(st.integers(0, 6)))]
    twos = [f"{number:031x}d" for number in range(draw(st.integers(0, 4)))] if ones else []

    def meeting(sources: tuple[str, ...]) -> st.SearchStrategy[Encounter]:
        return st.builds(
            lambda source, place, start, length, exit: met(
                source, place, START + start * 500, START + start * 500 + length, exit=exit
            ),
            st.sampled_from(sources),
            st.sampled_from(["p0", "p1", "3-4", "nowhere"]),
            st.integers(0, 500_000),
            st.integers(1, 5 * HOUR),
            st.sampled_from(["measured", "moved", "dwell", "open"]),
        )

    found = [contact(one, 1, *draw(st.lists(meeting(index), min_size=1, max_size=4))) for one in ones]
    found += [contact(two, 2, *draw(st.lists(meeting(tuple(ones)), min_size=1, max_size=3))) for two in twos]
    return answer(*found, index=index)


registries = st.tuples(*[st.one_of(st.sampled_from(NASTY), st.text(min_size=1, max_size=8))] * 3).map(
    lambda names: known(**dict(zip(("p0", "p1", "3-4"), names, strict=True)))
)
"""Places that are called anything; one more is not registered at all."""
