"""`truyvet scan`: the reference scanner."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from app.clock import now_ms
from app.door import Door, say
from app.issuers import load_issuers
from app.scan_queue import ScanQueue
from app.scanner import EdgeClient, Scanner, Signer, load_private_key
from app.settings import Settings
from app.words import words
from events.scans import Kind, Scan

EXIT_REFUSED: Final = 1
EXIT_KEPT: Final = 3
CODE_PARTS: Final = 3
Reading = Callable[[str, Kind, str | None], Scan]


def _code(text: str, kind: Kind, place: str | None) -> Scan:
    # The seal inside the head authenticates a personal code to the server; the signature is for offline checks.
    parts = text.split(".")
    return Scan(1, now_ms(), kind, code=".".join(parts[:2]) if len(parts) == CODE_PARTS else text, place=place)


def _cccd(text: str, kind: Kind, place: str | None) -> Scan:
    return Scan(1, now_ms(), kind, cccd=text, place=place)


def _subject(text: str, kind: Kind, place: str | None) -> Scan:
    return Scan(1, now_ms(), kind, subject=text, place=place)


def _place_code(text: str, kind: Kind, place: str | None) -> Scan:
    return Scan(1, now_ms(), kind, place_code=text, place=place)


READINGS: Final[dict[str, Reading]] = {
    "code": _code,
    "cccd": _cccd,
    "subject": _subject,
    "place-code": _place_code,
}


@click.command()
@click.option("--key", "key_file", type=click.Path(path_type=Path), required=True, help="The device's private key.")
@click.option("--keyid", required=True, help="As `truyvet device enrol` printed it, gate-1.1 say.")
@click.option(
    "--as", "reading", type=click.Choice(list(READINGS)), default="code", show_default=True, help="What CODE is."
)
@click.option("--place", metavar="ID", help="A place within the device's own.")
@click.option("--issuers", type=click.Path(path_type=Path), help="Check codes offline with these public keys first.")
@click.option("--queue", type=click.Path(path_type=Path), help="Where scans wait; default in the data directory.")
@click.option("--wait", "wait_seconds", default=30.0, show_default=True, help="Seconds to go on sending at the end.")
@click.argument("kind", type=click.Choice([kind.value for kind in Kind]))
@click.argument("codes", nargs=-1, metavar="[CODE]…")
@click.pass_obj
def scan(
    settings: Settings,
    *,
    key_file: Path,
    keyid: str,
    reading: str,
    place: str | None,
    issuers: Path | None,
    queue: Path | None,
    wait_seconds: float,
    kind: str,
    codes: tuple[str, ...],
) -> None:
    """Scan codes in, out or past (pass), given as arguments or line by line on standard input.

    Every scan is on disk before it is sent, and stays there until the server has answered for it: without network
    it waits, for days if need be, and is sent in order by the next call. One queue is one device; never copy it.
    Where the server turns out to have lost scans, they are sent again by themselves.
    Exits with 1 where a scan was refused, with 3 where scans still wait.

    \b
    Example:
      truyvet scan --key gate-1.1.pem --keyid gate-1.1 in TV1.AQEA…
      your-qr-reader | truyvet scan --key gate-1.1.pem --keyid gate-1.1 in
    """
    device, _, number = keyid.rpartition(".")
    if not device or not number.isdigit():
        raise click.UsageError("--keyid is a device's id, a dot and a number: gate-1.1.")
    directory = queue or settings.data_dir / "scanners" / device
    if reading == "cccd" and codes:
        raise click.UsageError("Citizen numbers come on standard input, not as arguments that others can read.")
    check = load_issuers(issuers) if issuers is not None else None
    client, sequences = EdgeClient(settings.ingest), EdgeClient(_sequences_url(settings))
    signer = Signer(load_private_key(key_file), keyid)
    turned_away = 0
    with ScanQueue(directory) as kept:
        if len(kept):
            say(f"{_waiting(len(kept))} from before")
        scanner = Scanner(kept, signer, client, directory=directory, sequences=sequences)
        door = Door(kept, scanner, say)
        door.open()
        try:
            for text in _texts(codes):
                refusal = check.refusal(text, now_ms()) if check is not None and reading == "code" else None
                if refusal is not None:
                    turned_away += 1
                    say(f"not taken, {refusal.value}: {words(refusal.value)}")
                    continue
                say(f"{door.take(READINGS[reading](text, Kind(kind), place))} kept")
        finally:
            door.close(wait_seconds)
            client.close()
            sequences.close()
        left = len(kept)
    if left:
        say(f"{_waiting(left)} in {directory}; the next call sends what waits")
        sys.exit(EXIT_KEPT)
    sys.exit(EXIT_REFUSED if turned_away or door.refused else 0)


def _sequences_url(settings: Settings) -> str:
    """Where to ask for missing scans: a deployment has one door, `truyvet up` a port for each service."""
    return settings.ingest if settings.ingest_url and not settings.api_url else settings.api


def _waiting(count: int) -> str:
    return "1 scan waits" if count == 1 else f"{count:,} scans wait"


def _texts(codes: tuple[str, ...]) -> Iterator[str]:
    """The codes given, or one from each line of standard input."""
    if codes:
        yield from codes
        return
    for line in sys.stdin:
        if text := line.strip():
            yield text
