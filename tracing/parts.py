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
from storage.audit_stream import AuditStream
from storage.clickhouse import Store
from storage.clusters import ClusterFeed
from storage.control import ControlLog
from storage.jobs import JobBoard
from storage.retention_runs import RetentionRuns
from storage.watermarks import Watermarks
from tracing.answer import Tracer
from tracing.asker import Asker
from tracing.audit import AuditLog
from tracing.device_questions import DeviceQuestions
from tracing.directory.names import Directory
from tracing.directory.reveals import Reveals
from tracing.exports.turns import Turns
from tracing.gap_surveys import GapSurveys
from tracing.impact import SupposedRegistries
from tracing.jobs import Jobs
from tracing.metrics import Metrics
from tracing.outbreak.attendance import PEOPLE_MIN_DEFAULT
from tracing.outbreak.desk import OutbreakDesk
from tracing.people.health import HealthRecords
from tracing.people.states import PeopleStates
from tracing.proof import Prover
from tracing.registrar import Registrar
from tracing.registry import CaughtUp, Registry
from tracing.retention.terms import TERMS_DEFAULT, Terms
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
        audit_stream: AuditStream,
        directory: Directory,
        reveals: Reveals,
        job_board: JobBoard,
        caught_up: CaughtUp,
        watermarks: Watermarks,
        accounts: DeviceAccounts,
        secrets: ServerSecrets,
        metrics: Metrics,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        checks: Callable[[], Sequence[Check]],
        retention_runs: RetentionRuns,
        terms: Terms = TERMS_DEFAULT,
        cluster_feed: ClusterFeed,
        occupancy_people_min: int = PEOPLE_MIN_DEFAULT,
    ) -> None:
        """`caught_up` belongs to the follower that feeds `registry`.

        `clock` gives Unix ms, `random` that many random bytes, `checks` how all is that the service needs. Hours in
        which fewer than `occupancy_people_min` were at a place are not told to those who may look at nobody.
        """
        self.store: Final = store
        self.registry: Final = registry
        self.tracer: Final = tracer
        self.supposed_registries: Final = SupposedRegistries(control)
        self.registrar: Final = Registrar(control, caught_up)
        self.watermarks: Final = watermarks
        self.accounts: Final = accounts
        self.device_questions: Final = DeviceQuestions()
        self.gap_surveys: Final = GapSurveys(store)
        self.prover: Final = Prover(store, registry, secrets)
        self.people: Final = PeopleStates(store)
        self.health: Final = HealthRecords(store)
        self.metrics: Final = metrics
        self.clock: Final = clock
        self.random: Final = random
        self.checks: Final = checks
        self.retention_runs: Final = retention_runs
        self.terms: Final = terms
        on_waited = metrics.audit_wait_seconds.observe
        self.audit: Final = AuditLog(store, audit_stream, secrets, clock, on_waited=on_waited)
        self.saved: Final = SavedTraces(store, audit_stream)
        self.directory: Final = directory
        self.reveals: Final = reveals
        self.secrets: Final = secrets
        self.asker: Final = Asker(tracer=tracer, registry=registry, audit=self.audit, metrics=metrics, clock=clock)
        self.jobs: Final = Jobs(job_board, self.asker, clock=clock, random=random)
        self.export_turns: Final = Turns()
        self.occupancy_people_min: Final = occupancy_people_min
        self.outbreak: Final = OutbreakDesk(
            store=store,
            registry=registry,
            watermarks=watermarks,
            caught_up=caught_up,
            feed=cluster_feed,
            clock=clock,
            random=random,
        )


Given = NamedDependency[SkipValidation[Parts]]
"""A route handler's `parts` argument."""

Asked = Request[None, Token, Any]
"""A request whose token the guard has checked and put into `auth`."""


def reply(value: object, status: int = 200) -> Response[bytes]:
    """A struct as the JSON answer, by the project's only codec."""
    return Response(codec.to_json(value), status_code=status, media_type="application/json")
