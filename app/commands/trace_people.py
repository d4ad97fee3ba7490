"""What the table of `truyvet trace` shows beside a contact: their state, vaccinations and last test."""

from collections.abc import Sequence
from typing import Final

import click

from app.client import ApiClient
from events.problems import ROLE_FORBIDDEN, ProblemError
from tracing.routes.people import SUBJECTS_MAX, Status, StatusRequest

COLUMNS: Final = ("state", "doses", "last test")


def known_of(client: ApiClient, subjects: Sequence[str], purpose: str) -> dict[str, Status]:
    """Whoever of them something is known of, as of now; nobody where the token may not read people.

    The trace is answered already: what else stands in the way is told, and leaves the rest of the table as it is.
    Raises `ApiDown`.
    """
    found: dict[str, Status] = {}
    try:
        for begin in range(0, len(subjects), SUBJECTS_MAX):
            asked = StatusRequest(subjects=tuple(subjects[begin : begin + SUBJECTS_MAX]), purpose=purpose)
            found.update((one.subject, one) for one in client.status(asked).items if one.standing or one.records)
    except ProblemError as error:
        if error.problem.name != ROLE_FORBIDDEN.name:
            click.echo(f"State, doses and tests are left out: {error.problem.title}.", err=True)
        return {}
    return found


def cells(known: Status | None) -> tuple[str, ...]:
    """The cells of `COLUMNS`; empty where nothing is known."""
    if known is None:
        return ("",) * len(COLUMNS)
    test = known.last_test
    return (
        known.standing.state.value if known.standing is not None else "",
        str(known.doses) if known.doses else "",
        f"{test.result}, {test.product}, {test.day}" if test is not None else "",
    )
