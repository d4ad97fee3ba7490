"""`truyvet export`: saved traces as files for other tools."""

import sys
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from app.client import ApiClient, api_client
from app.commands.options import PURPOSE, TIME
from app.settings import Settings
from app.terminal import add_row, counted, show
from events import codec
from tracing.exports.formats import Format
from tracing.routes.exports import ExportRequest
from truyvet.archives import Manifest, unpack

PROBLEMS_SHOWN_MAX: Final = 10


@click.command()
@click.argument("traces", nargs=-1, metavar="[TRACE]...")
@click.option("--case", "case_id", help="Instead of traces: the days of a case, as a calendar.")
@click.option("--from", "from_ms", type=TIME, help="With --case: from; default 14 days before the confirmation.")
@click.option("--to", "to_ms", type=TIME, help="With --case: up to; default the end of the infectious window.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice([format.value for format in Format]),
    default=Format.CSV.value,
    show_default=True,
    help="What the other tool reads.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder that is empty or not there yet; a name in .zip keeps the archive as it is.",
)
@PURPOSE
@click.pass_obj
def export(
    settings: Settings,
    *,
    traces: tuple[str, ...],
    case_id: str | None,
    from_ms: int | None,
    to_ms: int | None,
    format_name: str,
    out: Path,
    purpose: str,
) -> None:
    """Write saved traces as files: tables, line lists, graphs, maps, calendars, of any size.

    The files come with manifest.json: how many rows each has, its SHA-256, and every record that had to be left out.
    They are checked against it before they are yours. Several traces get a folder each. People are named by pseudonym.

    \b
    Example:
      truyvet export 9f0c2a9be1d34c7788aa01b2c3d4e5f6 --format epicontacts --out cluster --purpose "weekly report"
    """
    if bool(traces) == (case_id is not None):
        raise click.UsageError("What? Give the ids of saved traces, or --case ID.")
    if case_id is None and (from_ms is not None or to_ms is not None):
        raise click.UsageError("--from and --to belong to --case: a trace has its own window.")
    body = None
    if case_id is not None:
        path = _timeline_path(case_id, from_ms, to_ms)
    elif len(traces) == 1:
        path = f"/v1/traces/{quote(traces[0], safe='')}/export/{format_name}"
    else:
        path = "/v1/exports"
        body = codec.to_json(ExportRequest(traces=traces, format=Format(format_name), purpose=purpose))
    if out.suffix == ".zip":
        manifest = _fetch(api_client(settings), path, body, purpose, out)
    else:
        manifest = _unpacked(api_client(settings), path, body, purpose, out)
    _show(manifest, out)
    if manifest.problems:
        sys.exit(1)


def _timeline_path(case_id: str, from_ms: int | None, to_ms: int | None) -> str:
    window = {name: str(ms) for name, ms in (("from", from_ms), ("to", to_ms)) if ms is not None}
    return f"/v1/cases/{quote(case_id, safe='')}/timeline?{urlencode(window)}"


def _unpacked(client: ApiClient, path: str, body: bytes | None, purpose: str, folder: Path) -> Manifest:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.UsageError(f"{folder} is not empty. Name a folder that is not there yet.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".truyvet-", dir=folder.parent) as beside:
        archive = Path(beside) / "export.zip"
        manifest = _fetch(client, path, body, purpose, archive)
        unpack(archive, folder)
    return manifest


def _fetch(client: ApiClient, path: str, body: bytes | None, purpose: str, archive: Path) -> Manifest:
    """The archive, whole and checked; says on a terminal how much has come."""
    with Console(stderr=True).status("Waiting for the first bytes …") as status:
        return client.export(path, body, purpose, archive, lambda come: status.update(f"{decimal(come)} have come …"))


def _show(manifest: Manifest, out: Path) -> None:
    table = Table("file", "holds", "size")
    for file in manifest.files:
        holds = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(file.counts.items()))
        add_row(table, file.name, holds, decimal(file.bytes))
    show(table)
    for note in manifest.notes:
        click.echo(note, err=True)
    for problem in manifest.problems[:PROBLEMS_SHOWN_MAX]:
        click.echo(f"Left out: contact {problem.contact} of trace {problem.trace}: {problem.reason}.", err=True)
    left_out = len(manifest.problems) + manifest.problems_left_out
    if left_out:
        click.echo(f"{counted(left_out, 'record', 'records')} could not be exported: see manifest.json.", err=True)
    click.echo(f"{out}: every file is as its manifest says.", err=True)
