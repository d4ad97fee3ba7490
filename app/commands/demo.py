"""`truyvet demo`: the whole service on this machine, one simulated case traced and held against the truth."""

import sys
import time
from collections.abc import Callable
from typing import Final

import click
import msgspec
from rich.console import Console

from app import logs
from app.client import ApiClient
from app.clock import now_ms
from app.commands.simulate import summary
from app.errors import Explained
from app.foreground import run_until_told
from app.settings import Settings
from app.simulate import show
from app.simulate.memory import Memory, recall, remember
from app.simulate.perform import Province, perform, raise_province
from app.simulate.plan import (
    DAYS_DEFAULT,
    DAYS_MAX,
    PEOPLE_DEFAULT,
    PEOPLE_MAX,
    PEOPLE_MIN,
    SEED_DEFAULT,
    SEED_MAX,
    Plan,
    local_midnight,
)
from app.simulate.presence import blur
from app.simulate.truth import contacts
from app.simulate.verdict import agreement, choose_case, infectious, true_stays
from app.supervisor import TOKEN_FILE, Embedded, has_data
from events.cases import Case
from events.problems import BEHIND, PROBLEM_TYPE_BASE, ProblemError
from tracing.answer import Answer
from tracing.proof import ProofVerdict
from tracing.question import Index
from tracing.routes.cases import CaseRequest
from tracing.routes.traces import TraceRequest

PURPOSE: Final = "demonstration: tracing a simulated case"
PIPE_COLUMNS: Final = 110
CATCH_UP_SECONDS_MAX: Final = 180.0
EXIT_INTERRUPTED: Final = 130


class TruthMissed(Explained):
    """The service answered something else than what the scans say."""


class NotFresh(Explained):
    """The data directory holds somebody's data."""


@click.command()
@click.option(
    "--people",
    type=click.IntRange(PEOPLE_MIN, PEOPLE_MAX),
    default=PEOPLE_DEFAULT,
    show_default=True,
    help="Residents.",
)
@click.option("--days", type=click.IntRange(1, DAYS_MAX), default=DAYS_DEFAULT, show_default=True, help="Whole days.")
@click.option("--seed", type=click.IntRange(0, SEED_MAX), default=SEED_DEFAULT, show_default=True, help="Which world.")
@click.option("--exit", "exit_after", is_flag=True, help="Stop after the check instead of staying up.")
@click.pass_obj
def demo(settings: Settings, people: int, days: int, seed: int, exit_after: bool) -> None:
    """Run everything here, simulate a province, trace a case, and compare the answer with the truth.

    The first run on a data directory simulates; later ones ask the same question again. Stays up until Ctrl-C.
    Exits with an error if the answer is not the truth to the millisecond, or was not compared with it yet.

    \b
    Example:
      truyvet demo
      TRUYVET_DATA_DIR=./small truyvet demo --people 300 --days 5 --exit
    """
    quiet = msgspec.structs.replace(settings, log_level="warning") if settings.log_level == "info" else settings
    logs.configure(quiet, "demo")
    plan = Plan(people=people, days=days, seed=seed, end=local_midnight(now_ms()))
    play = _Play(quiet, remembered(settings, plan), _console())
    if exit_after:
        with play.service:
            play.perform()
    else:
        performed = run_until_told(play.perform_and_stay, play.service.stop)
        click.echo("Stopped. Nothing is left running.")
        if not performed:
            click.echo("The answer was not compared with the truth yet: `truyvet demo` on this data goes on.", err=True)
            sys.exit(EXIT_INTERRUPTED)


def remembered(settings: Settings, plan: Plan) -> Memory:
    """What a former demonstration on this data left, or a fresh start with the plan, written down at once.

    Raises `NotFresh`.
    """
    memory = recall(settings.data_dir)
    if memory is not None:
        return memory
    if has_data(settings):
        raise NotFresh(
            f"{settings.data_dir} holds data that no demonstration made, and a make-believe province must not mix with"
            " it. Set TRUYVET_DATA_DIR to a new directory; `truyvet up` runs the service on this one."
        )
    memory = Memory(plan=plan)
    remember(settings.data_dir, memory)
    return memory


class _Play:
    """One run, step by step. The world, its truth and the case follow from the remembered plan alone."""

    def __init__(self, settings: Settings, memory: Memory, console: Console) -> None:
        self._settings: Final = settings
        self._memory = memory
        self._console: Final = console
        self.service: Final = Embedded(settings)

    def perform_and_stay(self) -> None:
        """Start the service, perform, and say what to try while it stays up."""
        self._console.print(f"[bold]Truyvet[/] starts on {self._settings.data_dir} …")
        self.service.start()
        case = self.perform()
        self._console.print(next_steps(self._settings, self.service.token, case))

    def perform(self) -> str:
        """All steps on the running service. Returns the case's id. Raises `TruthMissed`, and what each step raises."""
        # 1. The province and its scans, sent once for each data directory.
        province = raise_province(self._settings, self._memory.plan, self._console)
        self._send(province)
        # 2. The case, chosen before the service is asked anything.
        with self._console.status("Choosing a case …"):
            person = choose_case(province, true_stays(province, province.world.plan.end))
        # 3. The question, through the public API.
        api = ApiClient(self._settings.api, self.service.token)
        case = api.confirm_case(_case(province, person))
        answer = self._asked(api, case.id)
        # 4. What the epidemiologist sees.
        self._show(api, province, case, answer)
        # 5. The truth.
        self._check(province, person, answer)
        return case.id

    def _send(self, province: Province) -> None:
        if self._memory.sent:
            plan = self._memory.plan
            self._console.print(
                f"This data holds the province of seed {plan.seed} already ({plan.people:,} people, {plan.days} days):"
                " nothing is sent, the same question is asked again."
            )
            return
        performed = perform(self._settings, province, self._console)
        self._console.print(summary(province, performed))
        if performed.tally.surprises:
            raise TruthMissed("Some receipts are not what they must be: " + "; ".join(performed.tally.surprises))
        self._memory = msgspec.structs.replace(self._memory, sent=True)
        remember(self._settings.data_dir, self._memory)

    def _asked(self, api: ApiClient, case: str) -> Answer:
        """The answer as of the first run's moment, and the first run's to the byte. Raises `TruthMissed`."""
        question = TraceRequest(index=Index(cases=(case,)), as_of=self._memory.as_of, purpose=PURPOSE)
        with self._console.status("Asking who was with the case …"):
            answer, seconds = _patiently(lambda: api.trace(question))
        self._console.print(f"\nTrace {answer.id} answered in {seconds:.2f} s.")
        if self._memory.fingerprint is None:
            as_of = answer.cut_off.as_of
            self._memory = msgspec.structs.replace(self._memory, as_of=as_of, fingerprint=answer.fingerprint)
            remember(self._settings.data_dir, self._memory)
        elif answer.fingerprint != self._memory.fingerprint:
            raise TruthMissed("The same question as of the same moment was answered differently than the first time.")
        else:
            self._console.print("As of the same moment as the first time, and the same answer to the byte.")
        return answer

    def _show(self, api: ApiClient, province: Province, case: Case, answer: Answer) -> None:
        names = show.Names(province.world.premises.places)
        self._console.print(show.question_line(case, answer))
        self._console.print(show.contacts_table(answer.contacts, names))
        contact = max(
            answer.contacts, key=lambda one: (len({met.place for met in one.encounters}), one.ms, one.subject)
        )
        self._console.print(show.evidence_lines(contact, names))
        device, seq = contact.encounters[0].stay.scans[0]
        proof = api.prove(device, seq, PURPOSE)
        self._console.print(show.proof_lines(proof))
        if proof.verdict is not ProofVerdict.PROVEN:
            raise TruthMissed(f"A scan that the answer rests on could not be proven: {proof.verdict}.")

    def _check(self, province: Province, person: int, answer: Answer) -> None:
        """Raises `TruthMissed`."""
        window = infectious(province)
        everybody = true_stays(province, answer.cut_off.as_of)
        expected = contacts(everybody, province.wallet.pseudonym(person), window)
        agreed = agreement(expected, answer.contacts)
        answered = {
            who: list(one.intervals) for one in answer.contacts if (who := province.wallet.who(one.subject)) is not None
        }
        self._console.print(show.blur_lines(blur(province.world, person, window, answered)))
        if not agreed.whole:
            raise TruthMissed(
                f"Only {agreed.equal} of {agreed.expected} contacts are what the scans say:\n  "
                + "\n  ".join(agreed.differences)
            )
        self._console.print(show.agreement_line(agreed))


def _console() -> Console:
    """A terminal's own width; a file or pipe gets lines that need no folding."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_COLUMNS)


def _case(province: Province, person: int) -> CaseRequest:
    since, until = infectious(province)
    return CaseRequest(
        id=f"f0-{province.world.plan.tag}",
        subject=province.wallet.pseudonym(person),
        confirmed_at=until,
        infectious_from=since,
        infectious_to=until,
        purpose=PURPOSE,
    )


def _patiently(ask: Callable[[], Answer]) -> tuple[Answer, float]:
    """The answer and the seconds that it took, once the read models have caught up. Raises `ProblemError`."""
    deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
    while True:
        began = time.monotonic()
        try:
            return ask(), time.monotonic() - began
        except ProblemError as error:
            if error.problem.type != PROBLEM_TYPE_BASE + BEHIND.name or time.monotonic() > deadline:
                raise
            time.sleep(error.problem.retry_after_seconds)


def next_steps(settings: Settings, token: str, case: str) -> str:
    """Addresses, the token and commands to try."""
    return f"""
[bold]Everything runs. Ctrl-C stops it; `make run` on this data goes on from here.[/]

  scans in       {settings.ingest}/v1/scans
  traces out     {settings.api}
  documentation  {settings.api}/docs
  token          {token}
                 (admin, on this machine only; also in {settings.run_dir / TOKEN_FILE})

Try in a second terminal, after `. .venv/bin/activate` and with the same TRUYVET_… variables if you set any:

  truyvet trace --case {case} --purpose "trying it out"
  truyvet trace --case {case} --depth 2 --purpose "contacts of contacts"
  truyvet simulate --seed 2 --people 500
  truyvet rebuild
  truyvet doctor
"""
