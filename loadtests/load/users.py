"""The users of the load test: who they are, and what each does over and over.

Locust makes every socket and event of its process a cooperative one, so nothing that needs an event loop of its own is
imported here: scanners are keys, signatures and MessagePack.
"""

import random
import secrets
import threading
import time
from http import HTTPStatus
from typing import Any, ClassVar, Final

import msgspec
from locust import FastHttpUser, between, task
from locust.exception import StopUser

from app.clock import now_ms
from events.problems import INDEX_WITHOUT_SCANS, SUBJECT_UNKNOWN
from events.scans import SCANS_PATH, How, Kind, Scan
from loadtests.load.api import HOUR_MS, PURPOSE_HEADER, OperatorApi, problem_name
from loadtests.load.cast import SPOTS, Bearer, Cast, Spot, load_cast, place_ids, strangers
from loadtests.load.delivery import NO_ANSWER, Answer, Fate, LoadDevice, SignedRequest, deliver, fate_of
from loadtests.load.ledger import NOBODY, Attested, Ledger
from loadtests.load.options import Options
from loadtests.load.shapes import Shape

RUN_ID_BYTES: Final = 5
SECOND_MS: Final = 1_000
BACKLOG_BATCH_SCANS: Final = 1_000
SCANNED_NOWHERE: Final = (INDEX_WITHOUT_SCANS.name, SUBJECT_UNKNOWN.name)
"""What becomes of a question about somebody whom nobody has scanned yet, as is likely early in a run."""
UNREADABLE_CODE: Final = "TV1.unreadable"
UNREADABLE_SHARE: Final = 0.02
"""How many of a door's visitors show something that is no code; the edge must refuse them."""
GATEWAY_SPAN_MS: Final = 10 * SECOND_MS
"""A gateway gathers its readers' scans for so long before it sends them."""
QUESTION_MINUTES: Final = 2
QUESTION_MIN_SECONDS: Final = 1
NETWORK_SECONDS_MAX: Final = 30.0
TRACE_SECONDS_MAX: Final = 120.0
"""A trace among people who have all met takes its time."""
SIGNS_OF_PATIENCE: Final = frozenset({429, 503})


class Ground:
    """What all users of one process share. `run` names the process in the ids of its devices."""

    def __init__(self, options: Options) -> None:
        """Raises `CastUnusable`."""
        self.options: Final = options
        self.run: Final = secrets.token_hex(RUN_ID_BYTES)
        self.api: Final = OperatorApi(options.api_url, options.token)
        self.cast: Final[Cast] = load_cast(options.codes) if options.codes is not None else strangers()
        self.ledger: Final = Ledger(options.ledger, self.run)
        self._devices = 0

    def register_places(self) -> None:
        """Every place of the load test. Raises `ApiFailed`."""
        for spot, (category, _) in SPOTS.items():
            for place_id in place_ids(spot):
                self.api.register_place(place_id, category)

    def new_device(self, name: str) -> LoadDevice:
        """A device that nobody had before, not enrolled yet."""
        self._devices += 1
        return LoadDevice(f"load-{name}-{self.run}-{self._devices}")


class ScanningUser(FastHttpUser):
    """Somebody with a device: enrolled when they come, cut off while a storm gathers, then scanning."""

    abstract = True
    insecure = False
    network_timeout = NETWORK_SECONDS_MAX
    connection_timeout = NETWORK_SECONDS_MAX
    concurrency = 1
    ground: ClassVar[Ground]
    connected: ClassVar[threading.Event] = threading.Event()
    over: ClassVar[threading.Event] = threading.Event()

    def on_start(self) -> None:
        """Enrol; in a reconnect storm, send what was gathered while the network was away."""
        self.device = self.ground.new_device(type(self).__name__.lower())
        self.enrol()
        self.connected.wait()
        if self.ground.options.shape is Shape.RECONNECT_STORM:
            self.send_backlog(self.ground.options.backlog_scans)

    def enrol(self) -> None:
        """Make the device known."""
        raise NotImplementedError

    def scan(self, at: int) -> tuple[Scan, Attested]:
        """One scan as this kind of device makes it, at that time (Unix ms), and what the log must hold of it."""
        raise NotImplementedError

    def send_backlog(self, count: int) -> None:
        """So many scans of the past hour, oldest first, in batches as scanners send them."""
        now = now_ms()
        times = sorted(now - random.randrange(HOUR_MS) for _ in range(count))
        for start in range(0, count, BACKLOG_BATCH_SCANS):
            self.send([self.scan(at) for at in times[start : start + BACKLOG_BATCH_SCANS]])

    def send(self, scans: list[tuple[Scan, Attested]]) -> None:
        """One batch, until it is answered for. A receipt that is not as it must be counts as a failure.

        Nothing new is begun when the run is over: Locust breaks off whoever waits, and some of them wake up first.
        """
        if self.over.is_set():
            raise StopUser
        name = f"{SCANS_PATH} {type(self).__name__.lower()}"
        delivered = deliver(
            self.device,
            scans,
            send=lambda request: self._post(request, name),
            ledger=self.ground.ledger,
            clock=time.time,
            sleep=time.sleep,
        )
        surprise = delivered.surprise if delivered is not None else "nobody answered for a batch"
        if surprise:
            self.environment.events.request.fire(
                request_type="receipt",
                name=name,
                response_time=0,
                response_length=0,
                exception=AssertionError(surprise),
                context={},
            )

    def _post(self, request: SignedRequest, name: str) -> Answer:
        """One exchange, counted: an answer that asks for patience is no failure, and has a line of its own."""
        client: Any = self.client
        with client.post(
            SCANS_PATH, name=name, data=request.body, headers=request.headers, catch_response=True
        ) as response:
            answer = _answer(response)
            fate = fate_of(answer)
            if answer.status in SIGNS_OF_PATIENCE or fate in {Fate.LATER, Fate.SIGN_ANEW}:
                response.request_meta["name"] = f"{name} (asked to wait: {answer.status})"
                response.success()
            elif fate is not Fate.TAKEN and answer.status != NO_ANSWER:
                response.failure(f"answered {answer.status}")
        return answer


class Scanner(ScanningUser):
    """A device that serves a place of its spot and scans whoever comes."""

    abstract = True
    spot: ClassVar[Spot]

    def enrol(self) -> None:
        """At one of the places of its kind."""
        self.place = random.choice(place_ids(self.spot))
        may_subject = not self.ground.cast.has_codes
        self.ground.api.enrol_scanner(self.device.id, self.device.public, self.place, may_subject=may_subject)

    def scan(self, at: int) -> tuple[Scan, Attested]:
        """Somebody comes or leaves."""
        return self.scanned(random.choice(self.ground.cast.persons), random.choice((Kind.IN, Kind.OUT)), at)

    def scanned(self, bearer: Bearer, kind: Kind, at: int) -> tuple[Scan, Attested]:
        """This bearer, by code where they have one."""
        seq = self.device.next_seq()
        how = How.SUBJECT if bearer.code is None else How.CODE
        subject = bearer.subject if bearer.code is None else None
        scan = Scan(seq=seq, at=at, kind=kind, code=bearer.code, subject=subject)
        return scan, Attested(seq, at, kind, how, self.place, bearer.subject)


class Door(Scanner):
    """A shop's door: one signed request for each person."""

    spot = Spot.DOOR
    weight = 4
    wait_time = between(0.2, 1.0)

    @task
    def somebody_comes(self) -> None:
        """One scan; now and then of something that is no code."""
        if random.random() < UNREADABLE_SHARE:
            self.send([self.scanned(Bearer(NOBODY, UNREADABLE_CODE), Kind.IN, now_ms())])
        else:
            self.send([self.scan(now_ms())])


class Gateway(Scanner):
    """A mall's gateway: gathers the scans of many readers and sends them as a batch."""

    spot = Spot.GATEWAY
    weight = 2
    wait_time = between(1.0, 3.0)

    @task
    def sends_a_batch(self) -> None:
        """Up to `batch_scans` scans of the last seconds."""
        most = self.ground.options.batch_scans
        now = now_ms()
        times = sorted(now - random.randrange(GATEWAY_SPAN_MS) for _ in range(random.randint((most + 1) // 2, most)))
        self.send([self.scan(at) for at in times])


class Checkpoint(Scanner):
    """A checkpoint on a road: a vehicle passes, and whoever sits in it."""

    spot = Spot.CHECKPOINT
    weight = 2
    wait_time = between(0.5, 2.0)

    def scan(self, at: int) -> tuple[Scan, Attested]:
        """Somebody passes, or a vehicle."""
        cast = self.ground.cast
        return self.scanned(random.choice(random.choice((cast.persons, cast.vehicles))), Kind.PASS, at)

    @task
    def a_vehicle_passes(self) -> None:
        """The vehicle and one to three people, each scanned and sent by itself."""
        cast = self.ground.cast
        for bearer in (random.choice(cast.vehicles), *random.sample(cast.persons, random.randint(1, 3))):
            self.send([self.scanned(bearer, Kind.PASS, now_ms())])


class Phone(ScanningUser):
    """A person's own phone: scans the code on a wall at coming and at leaving."""

    weight = 4
    wait_time = between(1.0, 4.0)

    def enrol(self) -> None:
        """As the phone of somebody in the cast."""
        self.holder = random.choice(self.ground.cast.persons).subject
        self.place: str | None = None
        self.ground.api.enrol_phone(self.device.id, self.device.public, self.holder)

    def scan(self, at: int) -> tuple[Scan, Attested]:
        """Comes to a place, or leaves the one it came to."""
        kind = Kind.IN if self.place is None else Kind.OUT
        place = self.place or random.choice(list(self.ground.cast.walls))
        self.place = place if kind is Kind.IN else None
        seq = self.device.next_seq()
        scan = Scan(seq=seq, at=at, kind=kind, place_code=self.ground.cast.walls[place])
        return scan, Attested(seq, at, kind, How.PHONE, place, self.holder)

    @task
    def scans_the_wall(self) -> None:
        """One scan."""
        self.send([self.scan(now_ms())])


class Epidemiologist(FastHttpUser):
    """Asks who was with whom. One of them, however many scanners there are: questions are rare."""

    fixed_count = 1
    insecure = False
    network_timeout = TRACE_SECONDS_MAX
    wait_time = between(4.0, 8.0)
    ground: ClassVar[Ground]

    @task
    def asks_for_contacts(self) -> None:
        """The contacts of one person over the last minutes."""
        now = now_ms()
        question = {
            "index": {"subjects": [random.choice(self.ground.cast.persons).subject]},
            "from": now - QUESTION_MINUTES * 60 * SECOND_MS,
            "to": now,
            "min_seconds": QUESTION_MIN_SECONDS,
            "purpose": "Load test: contacts of an invented person",
        }
        self._ask("POST", "/v1/traces", "/v1/traces", question)

    @task
    def reads_stays(self) -> None:
        """Where one person was over the last minutes."""
        now = now_ms()
        subject = random.choice(self.ground.cast.persons).subject
        window = f"from={now - QUESTION_MINUTES * 60 * SECOND_MS}&to={now}"
        self._ask("GET", f"/v1/subjects/{subject}/stays?{window}", "/v1/subjects/…/stays", None)

    def _ask(self, method: str, path: str, name: str, question: dict[str, Any] | None) -> None:
        headers = {"Authorization": f"Bearer {self.ground.options.token}", "Content-Type": "application/json"}
        if question is None:
            headers[PURPOSE_HEADER] = "Load test: stays of an invented person"
        data = None if question is None else msgspec.json.encode(question)
        client: Any = self.client
        with client.request(
            method, self.ground.options.api_url + path, name=name, data=data, headers=headers, catch_response=True
        ) as response:
            answer = _answer(response)
            if answer.status in SIGNS_OF_PATIENCE:
                response.request_meta["name"] = f"{name} (asked to wait: {answer.status})"
                response.success()
            elif answer.status >= HTTPStatus.BAD_REQUEST and problem_name(answer.body) in SCANNED_NOWHERE:
                response.request_meta["name"] = f"{name} (scanned nowhere)"
                response.success()


def _answer(response: Any) -> Answer:
    """What Locust's client got, as `deliver` takes it."""
    if response.status_code == NO_ANSWER:
        return Answer(NO_ANSWER)
    retry_after = (response.headers or {}).get("retry-after") or ""
    return Answer(response.status_code, response.content or b"", float(retry_after) if retry_after.isdecimal() else 0.0)
