"""`truyvet trace jobs`, and how a command follows one."""

import sys
import time
from typing import Final

import click
from rich.table import Table

from app.client import ApiClient, api_client
from app.clock import shown
from app.settings import Settings
from app.terminal import add_row, show
from events import codec
from events.problems import INTERNAL, ProblemError
from storage.jobs import OVER, JobState
from tracing.answer import Answer
from tracing.routes.jobs import JOBS_LISTED_DEFAULT, JOBS_LISTED_MAX, Job

POLL_SECONDS: Final = 0.5


@click.command()
@click.argument("job", required=False)
@click.option("--cancel", is_flag=True, help="Stop the JOB.")
@click.option(
    "--limit", type=click.IntRange(1, JOBS_LISTED_MAX), default=JOBS_LISTED_DEFAULT, show_default=True, help="How many."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def jobs(settings: Settings, *, job: str | None, cancel: bool, limit: int, as_json: bool) -> None:
    """List the traces that are asked as jobs, show one JOB, or stop it.

    A trace that must look at very many people becomes a job, and `truyvet trace` follows it. A job ends with the
    service that works on it, and then reads as interrupted: ask again.

    \b
    Example:
      truyvet trace jobs
      truyvet trace jobs JOB --cancel
    """
    client = api_client(settings)
    if job is None:
        if cancel:
            raise click.UsageError("Which? Give the job's id.")
        listed = client.jobs(limit)
        if as_json:
            click.echo(codec.to_json(listed))
        else:
            _show(listed.items)
        return
    found = client.cancel_job(job) if cancel else client.job(job)
    if as_json:
        click.echo(codec.to_json(found))
    else:
        _show([found])


def followed(client: ApiClient, job: Job, purpose: str) -> Answer:
    """The answer of a job, once it is done; progress goes to standard error, Ctrl-C cancels it.

    Raises `ProblemError` where it failed, and `click.Abort` where it was cancelled.
    """
    click.echo(f"Job {job.id}: Ctrl-C cancels it.", err=True)
    try:
        while job.state not in OVER:
            _tell(job)
            time.sleep(POLL_SECONDS)
            job = client.job(job.id)
    except KeyboardInterrupt:
        client.cancel_job(job.id)
        click.echo("\nCancelled.", err=True)
        raise click.Abort from None
    _tell(job)
    click.echo(err=True)
    if job.trace is not None:
        return client.saved_trace(job.trace, purpose)
    if job.state is JobState.CANCELLED:
        raise click.ClickException("The job was cancelled.")
    raise ProblemError(job.problem or INTERNAL.problem())


def _tell(job: Job) -> None:
    """How far it is, in one line that the next one replaces; in a pipe only the end is told."""
    if sys.stderr.isatty():
        click.echo(f"\r{job.state}: {job.read:,} of {job.known:,} people known so far    ", nl=False, err=True)
    elif job.state in OVER:
        click.echo(f"{job.state}: {job.read:,} people", nl=False, err=True)


def _show(found: list[Job]) -> None:
    table = Table("job", "asked", "by", "state", "people read", "known", "contacts", "trace")
    for job in found:
        contacts = f"{job.contacts:,}" if job.contacts is not None else ""
        problem = job.problem.title if job.problem is not None else ""
        numbers = (f"{job.read:,}", f"{job.known:,}", contacts)
        add_row(table, job.id, shown(job.asked_at), job.actor, job.state, *numbers, job.trace or problem)
    table.columns[0].no_wrap = True
    show(table)
