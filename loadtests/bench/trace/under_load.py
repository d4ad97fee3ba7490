"""trace.under_load: one index subject at a time while scans come in through the real edge, of others and elsewhere."""

import threading
from typing import Final

from loadtests.bench.bodies import Dealer, Order
from loadtests.bench.client import Outcome, run_load
from loadtests.bench.figures import Times, latency
from loadtests.bench.report import Result
from loadtests.bench.trace.asking import Asker, Refused, contacts_in
from loadtests.bench.trace.one import asked
from loadtests.bench.trace.session import Session
from loadtests.bench.trace.truth import differences
from loadtests.bench.visible import CONNECTIONS

P95_RATIO_MAX: Final = 3.0


class Questioner(threading.Thread):
    """Asks about one index subject after the other until stopped; `times` are in ms, `step_ms` the mean of each of the
    service's steps.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(name="questioner", daemon=True)
        self.times: Final[list[float]] = []
        self.step_ms: dict[str, float] = {}
        self.failures: Final[list[str]] = []
        self._session: Final = session
        self._system: Final = session.whole.up()
        self._stopped: Final = threading.Event()

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stopped.set()
        self.join()

    def run(self) -> None:
        """Until stopped, and once at least; then hold the last answer about everybody against the truth."""
        session, replies = self._session, dict[int, bytes]()
        subjects = session.subjects(session.index)
        try:
            with Asker(self._system) as asker:
                before = asker.step_seconds()
                while not (self.times and self._stopped.is_set()):
                    number = len(self.times) % len(subjects)
                    reply = asker.trace([subjects[number]], session.window)
                    self.times.append(1000 * reply.seconds)
                    replies[number] = reply.body
                after = asker.step_seconds()
            self.step_ms = {step: 1000 * (after[step] - before[step]) / len(self.times) for step in after}
        except Refused as error:
            self.failures.append(str(error))
        for number, body in replies.items():
            person = session.index[number]
            wanted = session.truth.contacts([person], session.window)
            self.failures.extend(differences(wanted, contacts_in(body), f"index subject {person}, under load"))


def run(session: Session) -> Result:
    """The p50, beside that of an idle service; the target is about the p95."""
    idle, sizes = asked(session), session.sizes
    questioner = Questioner(session)
    outcome = _loaded(session, questioner)
    times = Times(questioner.times or [0.0])
    ratio = times.p95 / idle.warm.p95
    return Result(
        bench="trace.under_load",
        value=times.p50,
        unit="ms (p50)",
        baseline="ms (p50), trace.one on an idle service",
        baseline_value=idle.warm.p50,
        target=f"p95 ≤ {P95_RATIO_MAX:.0f} × idle at {sizes.load_scans_per_second:,} scans/s",
        met=0 < ratio <= P95_RATIO_MAX,
        progress=P95_RATIO_MAX / ratio if ratio else 0.0,
        figures={
            "p95": times.p95,
            "baseline_p95": idle.warm.p95,
            "p95_ratio": ratio,
            "asked": len(questioner.times),
            "scans_per_second": round(outcome.scans / outcome.seconds),
            "step_ms": {step: round(mean, 1) for step, mean in questioner.step_ms.items()},
            "ack": latency(outcome),
        },
        failures=outcome.faults + questioner.failures,
    )


def _loaded(session: Session, questioner: Questioner) -> Outcome:
    """Run the load and the questions together; returns when the read models hold all of it."""
    sizes, system = session.sizes, session.whole.up()
    seconds, per_second = sizes.load_seconds, sizes.load_scans_per_second / sizes.load_batch_scans
    order = Order(int(per_second * seconds) + 1, sizes.load_batch_scans, "msgpack", "zstd")
    session.say(f"making {order.requests * order.scans:,} scans")
    devices = session.world.devices
    # What a device sent at most in earlier runs, all of which began with the first; one cut short counts as whole.
    runs = -(-session.whole.scans_since // (order.requests * order.scans))
    sent = runs * -(-order.requests // devices) * order.scans
    requests = session.generators.requests(order, Dealer(devices, sent + 1).dealt(order))
    session.say(f"{sizes.load_scans_per_second:,} scans/s for {seconds:.0f} s, and questions meanwhile")
    questioner.start()
    try:
        outcome = run_load(
            system.address, requests, connections=CONNECTIONS, seconds=2 * seconds, per_second=per_second
        )
    finally:
        questioner.stop()
    system.await_rows("read-models", session.whole.scans + outcome.scans)
    session.whole.scans_since += outcome.scans
    return outcome
