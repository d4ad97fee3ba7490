"""The trace service's HTTP API as the commands use it: typed values in and out, problems raised."""

import http.client
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from app.errors import Explained
from app.settings import Settings
from events import codec
from events.cases import Case
from events.clusters import Announced
from events.problems import ProblemError
from keys.audit_chain import Checkpoint
from projections.stays import Stay
from storage.retention_runs import RetentionStatus
from tracing.answer import Answer
from tracing.audit import AuditItem, AuditPage
from tracing.audit_verify import Verified
from tracing.difference import Difference
from tracing.directory.reveals import RequestState
from tracing.outbreak.attendance import PlaceOccupancy
from tracing.outbreak.exposures import Exposures
from tracing.outbreak.sources import SourcesAnswer
from tracing.people.quarantine import Listed
from tracing.proof import Proof
from tracing.routes.audit import VerifyRequest
from tracing.routes.cases import CaseRequest
from tracing.routes.closings import CaseState, ClosingRequest, ReopeningRequest
from tracing.routes.clusters import ClustersPage
from tracing.routes.comparisons import CompareRequest, SweepRequest
from tracing.routes.directory import (
    Access,
    AccessLog,
    AccessLogRequest,
    DirectoryKeys,
    Erased,
    EraseRequest,
    NamesImport,
    NamesImported,
    ReadmitRequest,
    Readmitted,
)
from tracing.routes.doubts import DoubtsPage, TraceDoubts, TraceDoubtsRequest
from tracing.routes.exposures import ExposuresRequest
from tracing.routes.gaps import DeviceGaps, GapsPage
from tracing.routes.impact import Impact, ImpactRequest
from tracing.routes.jobs import Job, JobList
from tracing.routes.people import (
    Declared,
    DeclareRequest,
    HealthImport,
    HealthImported,
    OfTraceRequest,
    QuarantinePage,
    StateCounts,
    StatusAnswer,
    StatusRequest,
)
from tracing.routes.presets import PresetList
from tracing.routes.retention import Preview, RetentionView, RunRequest
from tracing.routes.reveals import Decision, RevealAsked, Revealed, RevealsPage, RevealTicket
from tracing.routes.sources import SourcesRequest
from tracing.routes.subjects import StaysPage
from tracing.routes.traces import TraceRequest
from tracing.sweep import Sweep
from truyvet.archives import Manifest, save
from truyvet.errors import Refused, Unreachable, WrongAnswer
from truyvet.transport import Transport

TOKEN_FILE: Final = "token"
EVENT_DATA: Final = b"data: "
"""How the line begins that has a server-sent event's data."""
PAGE_ITEMS: Final = 500

T = TypeVar("T")


class ApiDown(Explained):
    """The service does not answer, or something else does; the message says where and what to do."""


class _Kind(msgspec.Struct):
    """What tells a job from an answer."""

    state: str | None = None


class ApiClient:
    """One person's access to the service, by a bearer token."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base_url: Final = base_url
        self._transport: Final = Transport(base_url, token)

    def confirm_case(self, case: CaseRequest) -> Case:
        """Register a case. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/cases", Case, body=codec.to_json(case))

    def trace(self, question: TraceRequest) -> Answer:
        """Ask for contacts. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/traces", Answer, body=codec.to_json(question))

    def trace_or_job(self, question: TraceRequest, *, prefer: str = "") -> Answer | Job:
        """Ask for contacts; a job where the service makes it one. Raises `ProblemError`, `ApiDown`."""
        with _explained(self._base_url):
            data = self._transport.exchange("POST", "/v1/traces", codec.to_json(question), prefer=prefer)
        try:
            is_job = codec.from_json(data, _Kind).state is not None
            return codec.from_json(data, Job) if is_job else codec.from_json(data, Answer)
        except msgspec.MsgspecError:
            raise self._otherwise() from None

    def saved_trace(self, trace: str, purpose: str) -> Answer:
        """A saved answer. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", f"/v1/traces/{quote(trace, safe='')}", Answer, purpose=purpose)

    def job(self, job: str) -> Job:
        """How far a job is. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", f"/v1/jobs/{quote(job, safe='')}", Job)

    def jobs(self, limit: int) -> JobList:
        """The jobs asked for last. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", f"/v1/jobs?{urlencode({'limit': limit})}", JobList)

    def cancel_job(self, job: str) -> Job:
        """Stop a job. Raises `ProblemError`, `ApiDown`."""
        return self._asked("DELETE", f"/v1/jobs/{quote(job, safe='')}", Job)

    def presets(self) -> PresetList:
        """The named rules of contact. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", "/v1/presets", PresetList)

    def compare(self, asked: CompareRequest) -> Difference:
        """How two answers differ. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/traces/compare", Difference, body=codec.to_json(asked))

    def sweep(self, asked: SweepRequest) -> Sweep:
        """A question over a grid. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/traces/sweep", Sweep, body=codec.to_json(asked))

    def stays(self, subject: str, from_ms: int, to_ms: int, as_of: int | None, purpose: str) -> list[Stay]:
        """All stays of a subject in a window, over as many pages as there are. Raises `ProblemError`, `ApiDown`."""
        query = {"from": str(from_ms), "to": str(to_ms), "limit": str(PAGE_ITEMS)}
        if as_of is not None:
            query["as_of"] = str(as_of)
        stays: list[Stay] = []
        while True:
            path = f"/v1/subjects/{quote(subject, safe='')}/stays?{urlencode(query)}"
            page = self._asked("GET", path, StaysPage, purpose=purpose)
            stays += page.items
            if page.next is None:
                return stays
            query["cursor"] = page.next

    def prove(self, device: str, seq: int, purpose: str) -> Proof:
        """A scan with the verdict on its evidence. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", f"/v1/proofs/{quote(device, safe='')}/{seq}", Proof, purpose=purpose)

    def gaps(self, *, items_max: int | None) -> GapsPage:
        """The devices with missing or conflicting scans, as one page; at least `items_max` of them, None: all.

        Raises `ProblemError`, `ApiDown`.
        """
        whole = page = self._asked("GET", f"/v1/gaps?limit={PAGE_ITEMS}", GapsPage)
        while page.next is not None and (items_max is None or len(whole.items) < items_max):
            page = self._asked("GET", f"/v1/gaps?{urlencode({'limit': PAGE_ITEMS, 'cursor': page.next})}", GapsPage)
            whole = msgspec.structs.replace(whole, items=whole.items + page.items, next=page.next)
        return whole

    def device_gaps(self, device: str, *, items_max: int | None) -> DeviceGaps:
        """One device's missing and conflicting scans, as one page; at least `items_max` of both, None: all.

        Raises `ProblemError`, `ApiDown`.
        """
        path = f"/v1/devices/{quote(device, safe='')}/gaps"
        whole = page = self._asked("GET", path, DeviceGaps)
        while page.next is not None and (items_max is None or len(whole.gaps) + len(whole.conflicts) < items_max):
            page = self._asked("GET", f"{path}?after_seq={page.next}", DeviceGaps)
            whole = msgspec.structs.replace(
                whole, gaps=whole.gaps + page.gaps, conflicts=whole.conflicts + page.conflicts, next=page.next
            )
        return whole

    def close_case(self, case: str, asked: ClosingRequest) -> CaseState:
        """Close a case. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", f"/v1/cases/{quote(case, safe='')}/close", CaseState, body=codec.to_json(asked))

    def reopen_case(self, case: str, asked: ReopeningRequest) -> CaseState:
        """Open a case again. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", f"/v1/cases/{quote(case, safe='')}/reopen", CaseState, body=codec.to_json(asked))

    def key_impact(self, keyid: str, since: int | None, purpose: str) -> Iterator[Impact]:
        """What revoking a key changes, page by page. Raises `ProblemError`, `ApiDown`."""
        device, _, number = keyid.rpartition(".")
        path = f"/v1/devices/{quote(device, safe='')}/keys/{quote(number, safe='')}/impact"
        cursor: str | None = None
        while True:
            asked = ImpactRequest(from_=since, cursor=cursor, purpose=purpose)
            page = self._asked("POST", path, Impact, body=codec.to_json(asked))
            yield page
            if page.next is None:
                return
            cursor = page.next

    def trace_doubts(self, trace: str, asked: TraceDoubtsRequest) -> TraceDoubts:
        """The doubtful scans that a saved trace rests on. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", f"/v1/traces/{quote(trace, safe='')}/doubts", TraceDoubts, body=codec.to_json(asked))

    def doubts(self, query: Mapping[str, str], purpose: str) -> Iterator[DoubtsPage]:
        """A device's doubtful scans, page by page. Raises `ProblemError`, `ApiDown`."""
        asked = {**query, "limit": str(PAGE_ITEMS)}
        while True:
            page = self._asked("GET", f"/v1/doubts?{urlencode(asked)}", DoubtsPage, purpose=purpose)
            yield page
            if page.next is None:
                return
            asked["cursor"] = page.next

    def retention(self) -> RetentionView:
        """What is kept since when, and what goes when. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", "/v1/retention", RetentionView)

    def retention_preview(self) -> Preview:
        """What a run would let go now. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/retention/runs", Preview, body=codec.to_json(RunRequest(dry_run=True)))

    def run_retention(self) -> RetentionStatus:
        """Ask for a run. Raises `ProblemError`, `ApiDown`."""
        body = codec.to_json(RunRequest(dry_run=False))
        return self._asked("POST", "/v1/retention/runs", RetentionStatus, body=body)

    def retention_run(self) -> RetentionStatus:
        """How far the latest run is. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", "/v1/retention/runs/latest", RetentionStatus)

    def declare_states(self, asked: DeclareRequest) -> Declared:
        """Declare people to be in a state. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/people/states", Declared, body=codec.to_json(asked))

    def declare_contacts(self, trace: str, asked: OfTraceRequest) -> Declared:
        """Declare a saved trace's contacts to be F1 and F2. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", f"/v1/traces/{quote(trace, safe='')}/states", Declared, body=codec.to_json(asked))

    def status(self, asked: StatusRequest) -> StatusAnswer:
        """What people are, and their vaccinations and tests. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/people/status", StatusAnswer, body=codec.to_json(asked))

    def quarantine(self, query: Mapping[str, str], purpose: str) -> Iterator[Listed]:
        """Who is apart, or in the state that the query names, page by page. Raises `ProblemError`, `ApiDown`."""
        asked = {**query, "limit": str(PAGE_ITEMS)}
        while True:
            page = self._asked("GET", f"/v1/quarantine?{urlencode(asked)}", QuarantinePage, purpose=purpose)
            yield from page.items
            if page.next is None:
                return
            asked["cursor"] = page.next

    def state_counts(self) -> StateCounts:
        """How many people are in each state. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", "/v1/people/counts", StateCounts)

    def import_health(self, asked: HealthImport) -> HealthImported:
        """Import lines of vaccinations and tests. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/health", HealthImported, body=codec.to_json(asked))

    def audit(self, items_max: int) -> list[AuditItem]:
        """The newest entries of the audit log, up to so many. Raises `ProblemError`, `ApiDown`."""
        items: list[AuditItem] = []
        query = {"limit": str(min(items_max, PAGE_ITEMS))}
        while True:
            page = self._asked("GET", f"/v1/audit?{urlencode(query)}", AuditPage)
            items += page.items
            if page.next is None or len(items) >= items_max:
                return items[:items_max]
            query["cursor"] = page.next

    def audit_head(self) -> Checkpoint:
        """The audit chain's head, signed. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", "/v1/audit/head", Checkpoint)

    def verify_audit(self, asked: VerifyRequest) -> Verified:
        """One step along the audit chain. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/audit/verify", Verified, body=codec.to_json(asked))

    def import_names(self, asked: NamesImport) -> NamesImported:
        """Enter lines of a line list. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/people/import", NamesImported, body=codec.to_json(asked))

    def erase_person(self, asked: EraseRequest) -> Erased:
        """Erase somebody's name for good. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/people/erase", Erased, body=codec.to_json(asked))

    def readmit_person(self, asked: ReadmitRequest) -> Readmitted:
        """Let somebody who was erased be entered anew. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/people/readmit", Readmitted, body=codec.to_json(asked))

    def access_log(self, asked: AccessLogRequest) -> Iterator[Access]:
        """Who looked at somebody, newest first, page by page. Raises `ProblemError`, `ApiDown`."""
        while True:
            page = self._asked("POST", "/v1/people/access-log", AccessLog, body=codec.to_json(asked))
            yield from page.items
            if page.next is None:
                return
            asked = msgspec.structs.replace(asked, cursor=page.next)

    def directory_keys(self) -> DirectoryKeys:
        """How many people's keys each directory key wraps. Raises `ProblemError`, `ApiDown`."""
        return self._asked("GET", "/v1/directory/keys", DirectoryKeys)

    def reveal(self, trace: str, asked: RevealAsked) -> Revealed:
        """Names of people in a saved trace, or a request for them. Raises `ProblemError`, `ApiDown`."""
        path = f"/v1/traces/{quote(trace, safe='')}/reveal"
        return self._asked("POST", path, Revealed, body=codec.to_json(asked))

    def reveals(self, state: RequestState | None) -> Iterator[RevealTicket]:
        """The requests to see names, newest first, page by page. Raises `ProblemError`, `ApiDown`."""
        query = {"limit": str(PAGE_ITEMS)} | ({"state": state.value} if state is not None else {})
        while True:
            page = self._asked("GET", f"/v1/reveals?{urlencode(query)}", RevealsPage)
            yield from page.items
            if page.next is None:
                return
            query["cursor"] = page.next

    def decide_reveal(self, request: str, verb: Literal["approve", "refuse"], asked: Decision) -> RevealTicket:
        """Approve or refuse somebody else's request to see names. Raises `ProblemError`, `ApiDown`."""
        path = f"/v1/reveals/{quote(request, safe='')}/{verb}"
        return self._asked("POST", path, RevealTicket, body=codec.to_json(asked))

    def open_reveal(self, request: str) -> Revealed:
        """The names of an approved request of one's own. Raises `ProblemError`, `ApiDown`."""
        path = f"/v1/reveals/{quote(request, safe='')}/open"
        return self._asked("POST", path, Revealed, body=codec.to_json(Decision()))

    def sources(self, asked: SourcesRequest) -> SourcesAnswer:
        """Where several F0 may have been infected. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/sources", SourcesAnswer, body=codec.to_json(asked))

    def exposures(self, asked: ExposuresRequest) -> Exposures:
        """Places by how much they exposed people. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/exposures", Exposures, body=codec.to_json(asked))

    def occupancy(self, place: str, from_ms: int, to_ms: int, as_of: int | None) -> PlaceOccupancy:
        """How many people were at a place, hour by hour. Raises `ProblemError`, `ApiDown`."""
        query = {"from": str(from_ms), "to": str(to_ms)} | ({"as_of": str(as_of)} if as_of is not None else {})
        return self._asked("GET", f"/v1/places/{quote(place, safe='')}/occupancy?{urlencode(query)}", PlaceOccupancy)

    def clusters(self, place: str | None, purpose: str) -> ClustersPage:
        """All clusters as they stand, as one page. Raises `ProblemError`, `ApiDown`."""
        query = {"limit": str(PAGE_ITEMS)} | ({"place": place} if place is not None else {})
        whole = page = self._asked("GET", f"/v1/clusters?{urlencode(query)}", ClustersPage, purpose=purpose)
        while page.next is not None:
            query["cursor"] = page.next
            page = self._asked("GET", f"/v1/clusters?{urlencode(query)}", ClustersPage, purpose=purpose)
            whole = msgspec.structs.replace(whole, items=whole.items + page.items, next=page.next)
        return whole

    def follow_clusters(self, after: int, purpose: str) -> Iterator[Announced]:
        """Announcements behind this number as they come, until the service ends the stream. Raises as `clusters`."""
        path = f"/v1/clusters/feed?{urlencode({'after': after})}"
        with _explained(self._base_url), self._transport.opened("GET", path, purpose=purpose) as response:
            try:
                for line in response:
                    if line.startswith(EVENT_DATA):
                        yield codec.from_json(line[len(EVENT_DATA) :], Announced)
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(self._base_url, type(error).__name__) from None
            except msgspec.MsgspecError:
                raise self._otherwise() from None

    def get(self, path: str) -> bytes:
        """The body of a path that anybody may read. Raises `ProblemError`, `ApiDown`."""
        with _explained(self._base_url):
            return Transport(self._base_url, "").exchange("GET", path)

    def export(
        self, path: str, body: bytes | None, purpose: str, archive: Path, on_bytes: Callable[[int], None]
    ) -> Manifest:
        """Save what a path exports as a file, whole and checked or not at all. Raises `ProblemError`, `ApiDown`."""
        method = "GET" if body is None else "POST"
        with _explained(self._base_url):
            return save(self._transport.pieces(method, path, body, purpose=purpose), archive, on_bytes)

    def _asked(self, method: str, path: str, kind: type[T], *, body: bytes | None = None, purpose: str = "") -> T:
        with _explained(self._base_url):
            data = self._transport.exchange(method, path, body, purpose=purpose)
        try:
            return codec.from_json(data, kind)
        except msgspec.MsgspecError:
            raise self._otherwise() from None

    def _otherwise(self) -> ApiDown:
        return ApiDown(
            f"{self._base_url} answers in another form than expected. Use the release of truyvet that runs there."
        )


@contextmanager
def _explained(base_url: str) -> Iterator[None]:
    """The client's exceptions as those of the commands, which say what to do at this terminal."""
    try:
        yield
    except Refused as refused:
        raise ProblemError(refused.problem) from None
    except Unreachable as error:
        raise ApiDown(
            f"{base_url} does not answer ({error.reason}). Is `truyvet up` running? TRUYVET_API_URL names another"
            " address."
        ) from None
    except WrongAnswer as error:
        raise ApiDown(f"{error}. Check TRUYVET_API_URL.") from None


def api_client(settings: Settings) -> ApiClient:
    """The client of the person at the terminal. Raises `ApiDown` where there is no token."""
    return ApiClient(settings.api, settings.token or _operator_token(settings.run_dir / TOKEN_FILE))


def _operator_token(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ApiDown(
            "No token. Set TRUYVET_TOKEN to yours (`truyvet token create` makes one), or run this beside `truyvet up`."
        ) from None
    if mode & 0o077:
        raise ApiDown(f"{path} can be read by others. Run: chmod 600 {path}, then revoke and renew the token.")
    return text
