"""The trace service's HTTP API as the commands use it: typed values in and out, problems raised."""

import http.client
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from app.errors import Explained
from app.settings import Settings
from events import codec
from events.cases import Case
from events.problems import Problem, ProblemError
from tracing.answer import Answer
from tracing.decoding import PURPOSE_HEADER
from tracing.proof import Proof
from tracing.routes.cases import CaseRequest
from tracing.routes.gaps import DeviceGaps, GapsPage
from tracing.routes.subjects import StaysPage
from tracing.routes.traces import TraceRequest
from tracing.stays import Stay

ANSWER_SECONDS_MAX: Final = 300.0
ANSWER_BYTES_MAX: Final = 1_000_000_000
TOKEN_FILE: Final = "token"
PAGE_ITEMS: Final = 500

T = TypeVar("T")


class ApiDown(Explained):
    """The service does not answer, or something else does; the message says where and what to do."""


class ApiClient:
    """One person's access to the service, by a bearer token."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base_url: Final = base_url
        self._token: Final = token

    def confirm_case(self, case: CaseRequest) -> Case:
        """Register a case. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/cases", Case, body=codec.to_json(case))

    def trace(self, question: TraceRequest) -> Answer:
        """Ask for contacts. Raises `ProblemError`, `ApiDown`."""
        return self._asked("POST", "/v1/traces", Answer, body=codec.to_json(question))

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

    def get(self, path: str) -> bytes:
        """The body of a path that anybody may read. Raises `ProblemError`, `ApiDown`."""
        return self._exchange("GET", path, None, {})

    def _asked(self, method: str, path: str, kind: type[T], *, body: bytes | None = None, purpose: str = "") -> T:
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if purpose:
            headers[PURPOSE_HEADER] = quote(purpose)
        data = self._exchange(method, path, body, headers)
        try:
            return codec.from_json(data, kind)
        except msgspec.MsgspecError:
            raise ApiDown(
                f"{self._base_url} answers in another form than expected. Use the release of truyvet that runs there."
            ) from None

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        parts = urlsplit(self._base_url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.request(method, parts.path.rstrip("/") + path, body=body, headers=dict(headers))
            response = connection.getresponse()
            data = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise ApiDown(
                f"{self._base_url} does not answer ({type(error).__name__}). Is `truyvet up` running? TRUYVET_API_URL"
                " names another address."
            ) from None
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise ProblemError(self._problem(response.status, data))
        return data

    def _problem(self, status: int, data: bytes) -> Problem:
        try:
            return codec.from_json(data, Problem)
        except msgspec.MsgspecError:
            raise ApiDown(
                f"{self._base_url} answered {status}, but it is not Truyvet. Check TRUYVET_API_URL."
            ) from None


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
