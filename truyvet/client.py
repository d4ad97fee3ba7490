"""The service from Python: typed values, Arrow tables, and exports as files.

from truyvet import Client

client = Client("https://truyvet.example", token)
trace = client.trace(cases=["hn-2021-0417"], purpose="contacts of case 417")
contacts = client.contacts(trace.id, purpose="contacts of case 417").to_pandas()
"""

import importlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from events import codec
from events.cases import Case
from truyvet import archives
from truyvet.archives import Manifest
from truyvet.errors import TruyvetError, WrongAnswer
from truyvet.records import (
    CasesPage,
    CaseSummary,
    Index,
    Question,
    SavedTrace,
    SavedTracesPage,
    Stay,
    StaysPage,
    Trace,
)
from truyvet.transport import ANSWER_SECONDS_MAX, Transport

if TYPE_CHECKING:
    import pyarrow

PAGE_ITEMS: Final = 500
WAIT_SECONDS_MAX: Final = 60.0

T = TypeVar("T")


class Client:
    """One person's access to a service. Every method raises `TruyvetError`, of which `Refused` holds the problem.

    Times are Unix milliseconds. A `purpose` (10 to 500 characters) says why these people are looked at; it is kept in
    the audit log. Thread-safe.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`url` is the trace service's address, `token` what `truyvet token create` printed.

        `answer_seconds_max`: how long the service may say nothing. `wait_seconds_max`: where it is busy (503 or 429)
        it is asked again after as long as it says, for so many seconds in all; then `Busy` is raised.
        """
        self._transport: Final = Transport(
            url, token, answer_seconds_max=answer_seconds_max, wait_seconds_max=wait_seconds_max, sleep=sleep
        )

    def trace(
        self,
        *,
        cases: Sequence[str] = (),
        subjects: Sequence[str] = (),
        purpose: str,
        from_ms: int | None = None,
        to_ms: int | None = None,
        lag_seconds: int | None = None,
        min_seconds: int | float | None = None,
        rule: str | None = None,
        as_of: int | None = None,
        depth: int | None = None,
        latency_seconds: int | None = None,
    ) -> Trace:
        """Ask who was with these cases or subjects; the answer is saved. What is None is the service's default."""
        question = Question(
            index=Index(cases=tuple(cases), subjects=tuple(subjects)),
            purpose=purpose,
            from_=from_ms,
            to=to_ms,
            lag_seconds=lag_seconds,
            min_seconds=min_seconds,
            rule=rule,
            as_of=as_of,
            depth=depth,
            latency_seconds=latency_seconds,
        )
        return self._asked("POST", "/v1/traces", Trace, codec.to_json(question))

    def saved_traces(self) -> Iterator[SavedTrace]:
        """The saved traces, newest first, fetched page by page as they are taken."""
        return self._pages("/v1/traces", SavedTracesPage, {})

    def answer(self, trace_id: str, *, purpose: str) -> bytes:
        """A saved answer with all its evidence, to the byte as it was given: JSON."""
        return self._transport.exchange("GET", f"/v1/traces/{_part(trace_id)}", purpose=purpose)

    def saved_trace(self, trace_id: str, *, purpose: str) -> Trace:
        """A saved trace, read again."""
        return _decoded(self.answer(trace_id, purpose=purpose), Trace)

    def cases(self) -> Iterator[CaseSummary]:
        """The cases by id, without whom they are, fetched page by page as they are taken."""
        return self._pages("/v1/cases", CasesPage, {})

    def case(self, case_id: str, *, purpose: str) -> Case:
        """A case with its subject."""
        return self._asked("GET", f"/v1/cases/{_part(case_id)}", Case, purpose=purpose)

    def stays(self, subject: str, from_ms: int, to_ms: int, *, purpose: str, as_of: int | None = None) -> list[Stay]:
        """Where somebody was in the window `[from_ms, to_ms)`, by start."""
        query = {"from": str(from_ms), "to": str(to_ms)} | ({"as_of": str(as_of)} if as_of is not None else {})
        return list(self._pages(f"/v1/subjects/{_part(subject)}/stays", StaysPage, query, purpose))

    def stays_table(
        self, subject: str, from_ms: int, to_ms: int, *, purpose: str, as_of: int | None = None
    ) -> "pyarrow.Table":
        """The same as an Arrow table."""
        stays = self.stays(subject, from_ms, to_ms, purpose=purpose, as_of=as_of)
        return _frames().stays_table(subject, stays)

    def linelist(self, trace_id: str, *, purpose: str) -> "pyarrow.Table":
        """The people of a saved trace as an Arrow table: index subjects, then contacts (docs/exports.md, line list)."""
        return self._exported_table(trace_id, "linelist.parquet", purpose)

    def contacts(self, trace_id: str, *, purpose: str) -> "pyarrow.Table":
        """The encounters of a saved trace as an Arrow table, one row each (docs/exports.md, contacts)."""
        return self._exported_table(trace_id, "contacts.parquet", purpose)

    def export(
        self,
        trace_id: str,
        format: str,
        path: str | Path,
        *,
        purpose: str,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> Manifest:
        """Save a trace in a format (docs/exports.md) as a ZIP archive at `path`, whole and checked, or not at all.

        `on_bytes` is told how many bytes have come. An existing file is not overwritten (`FileExistsError`).
        """
        pieces = self._transport.pieces("GET", f"/v1/traces/{_part(trace_id)}/export/{_part(format)}", purpose=purpose)
        return archives.save(pieces, Path(path), on_bytes)

    def export_timeline(
        self, case_id: str, path: str | Path, *, purpose: str, from_ms: int | None = None, to_ms: int | None = None
    ) -> Manifest:
        """Save a case's stays as a calendar (RFC 5545), in a ZIP archive as `export` does."""
        query = {name: str(ms) for name, ms in (("from", from_ms), ("to", to_ms)) if ms is not None}
        pieces = self._transport.pieces(
            "GET", f"/v1/cases/{_part(case_id)}/timeline?{urlencode(query)}", purpose=purpose
        )
        return archives.save(pieces, Path(path))

    def _exported_table(self, trace_id: str, name: str, purpose: str) -> Any:
        frames = _frames()
        with tempfile.TemporaryDirectory(prefix="truyvet-") as folder:
            archive = Path(folder) / "export.zip"
            self.export(trace_id, "parquet", archive, purpose=purpose)
            return frames.table_in(archive, name)

    def _pages(self, path: str, kind: type[Any], query: dict[str, str], purpose: str = "") -> Iterator[Any]:
        query = query | {"limit": str(PAGE_ITEMS)}
        while True:
            page = self._asked("GET", f"{path}?{urlencode(query)}", kind, purpose=purpose)
            yield from page.items
            if page.next is None:
                return
            query["cursor"] = page.next

    def _asked(self, method: str, path: str, kind: type[T], body: bytes | None = None, *, purpose: str = "") -> T:
        return _decoded(self._transport.exchange(method, path, body, purpose=purpose), kind)


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return codec.from_json(data, kind)
    except msgspec.MsgspecError:
        raise WrongAnswer("The service answers in another form than expected: is it of another release?") from None


def _part(text: str) -> str:
    """One segment of a path."""
    return quote(text, safe="")


def _frames() -> Any:
    """The module that needs Arrow, where it is installed."""
    try:
        return importlib.import_module("truyvet.frames")
    except ImportError:
        raise TruyvetError("Arrow is not installed: pip install 'truyvet[client]'") from None
