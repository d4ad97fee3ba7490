"""The command `truyvet`: a group whose commands are imported only when they are called.

Every error is one line that says what to do; tracebacks appear with TRUYVET_LOG_LEVEL=debug.
"""

import importlib
import sys
from typing import Final

import click

from app.lazy_group import LazyGroup, Table
from app.settings import SettingsError, read_settings

COMMANDS: Final[Table] = {
    "demo": ("First steps", "app.commands.demo:demo", "Show it all: a simulated province, a case, its contacts."),
    "up": ("First steps", "app.commands.up:up", "Run everything on this machine, servers included."),
    "doctor": ("First steps", "app.commands.doctor:doctor", "Check every part and say what to do."),
    "simulate": ("First steps", "app.commands.simulate:simulate", "Send the scans of simulated people."),
    "place": ("Registry", "app.commands.place:place", "Import and list places."),
    "device": ("Registry", "app.commands.device:device", "Enrol scanners, rotate and revoke their keys."),
    "subject": ("Registry", "app.commands.subject:subject", "Enter a person and print a personal code."),
    "qr": ("Registry", "app.commands.qr:qr", "Make QR codes for places and people."),
    "token": ("Registry", "app.commands.token:token", "Let people use the service, and stop letting them."),
    "scan": ("Scanning", "app.commands.scan:scan", "The reference scanner: sends scans, loses none."),
    "case": ("Tracing", "app.commands.case:case", "Record a confirmed case (F0)."),
    "trace": ("Tracing", "app.commands.trace:trace", "Find who was with a case, with the evidence."),
    "people": ("People", "app.commands.people:people", "Who is F0, F1, F2, in quarantine, recovered, released."),
    "health": ("People", "app.commands.health:health", "Import vaccinations and tests."),
    "export": ("Tracing", "app.commands.export:export", "Write saved traces as files for other tools."),
    "backward": ("Tracing", "app.commands.backward:backward", "Find where several cases may have been infected."),
    "exposures": ("Tracing", "app.commands.exposures:exposures", "Rank the places where contacts were exposed."),
    "clusters": ("Tracing", "app.commands.clusters:clusters", "List where cases gather, and follow it as it arises."),
    "stays": ("Tracing", "app.commands.stays:stays", "List where a person stayed."),
    "gaps": ("Tracing", "app.commands.gaps:gaps", "List the scans that devices made and the log lacks."),
    "doubts": ("Tracing", "app.commands.doubts:doubts", "List scans that may not be what they say, and why."),
    "prove": ("Tracing", "app.commands.prove:prove", "Verify one scan's signature from its evidence."),
    "serve": ("Processes", "app.commands.serve:serve", "Run one HTTP process: ingest, trace or store."),
    "sink": ("Processes", "app.commands.sink:sink", "Run the process that writes the stream into the log."),
    "project": ("Processes", "app.commands.project:project", "Run the process that keeps the read models."),
    "migrate": ("Processes", "app.commands.migrate:migrate", "Make the keys and the tables, or bring them up to date."),
    "reveal": ("People", "app.commands.reveal:reveal", "See names of contacts, alone or with four eyes."),
    "audit": ("Operation", "app.commands.audit:audit", "Read who looked at whom; verify the record."),
    "retention": (
        "Operation",
        "app.commands.retention:retention",
        "See what is kept since when, and let go what is over.",
    ),
    "rebuild": ("Operation", "app.commands.rebuild:rebuild", "Rebuild the read models from the log and compare."),
    "keys": ("Operation", "app.commands.keys:keys", "Rotate the server's keys; print the public ones."),
    "settings": ("Operation", "app.commands.settings:settings", "Print every setting, secrets masked."),
}


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="truyvet", prog_name="truyvet")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Truyvet takes signed QR scans in and answers who was with a confirmed case, with the evidence.

    Start with `truyvet demo`, or with `truyvet up` in one terminal and the other commands in a second one.
    Settings are TRUYVET_… environment variables: `truyvet settings` prints them. `truyvet COMMAND --help`
    explains a command and gives an example.
    """
    try:
        ctx.obj = read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def main() -> None:
    """Run the command line; the exit code is 0 only where the command did what it was asked."""
    try:
        cli.main(prog_name="truyvet", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        failures = importlib.import_module("app.failures")
        sys.exit(failures.report(error))


if __name__ == "__main__":
    main()
