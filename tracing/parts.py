"""What the trace service is built from; everything is made by the composition root and passed in."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from events import codec
from events.access import Token
from events.readiness import Check
from keys.secrets import ServerSecrets
from storage.accounts import DeviceAccounts
from storage.clickhouse import Store
from storage.control import ControlLog
from storage.watermarks import Watermarks
from tracing.answer import Tracer
from tracing.audit import AuditLog
from tracing.device_questions import DeviceQuestions
from tracing.gap_surveys import GapSurveys
from tracing.metrics import Metrics
from tracing.proof import Prover
from tracing.registrar import Registrar
from tracing.registry import CaughtUp, Registry
from tracing.saved import SavedTraces


class Parts:
    """The collaborators of every route handler; all of them are safe to use from several threads."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        tracer: Tracer,
        control: ControlLog,
        caught_up: CaughtUp,
        watermarks: Watermarks,
        accounts: DeviceAccounts,
        secrets: ServerSecrets,
        metrics: Metrics,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        checks: Callable[[], Sequence[Check]],
    ) -> None:
        """`caught_up` belongs to the follower that feeds `registry`.

        `clock` gives Unix ms, `random` that many random bytes, `checks` how all is that the service needs.
        """
        self.store: Final = store
        self.registry: Final = registry
        self.tracer: Final = tracer
        self.registrar: Final = Registrar(control, caught_up)
        self.watermarks: Final = watermarks
        self.accounts: Final = accounts
        self.device_questions: Final = DeviceQuestions()
        self.gap_surveys: Final = GapSurveys(store)
        self.prover: Final = Prover(store, registry, secrets)
        self.metrics: Final = metrics
        self.clock: Final = clock
        self.random: Final = random
        self.checks: Final = checks
        self.audit: Final = AuditLog(store)
        self.saved: Final = SavedTraces(store)


Given = NamedDependency[SkipValidation[Parts]]
"""A route handler's `parts` argument."""

Asked = Request[None, Token, Any]
"""A request whose token the guard has checked and put into `auth`."""


def reply(value: object, status: int = 200) -> Response[bytes]:
    """A struct as the JSON answer, by the project's only codec."""
    return Response(codec.to_json(value), status_code=status, media_type="application/json")
