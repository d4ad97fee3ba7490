"""`python -m loadtests.load.codes`: the codes that a load test's people and walls show.

Only the service's key file makes codes, so this runs beside it; its output is what `--codes` takes.
"""

import argparse
import secrets
import sys
from pathlib import Path
from typing import Final

from app.clock import DAY_MS, now_ms
from app.errors import Explained
from app.key_file import load
from events import codec
from keys.codes import CODE_NONCE_BYTES, issue_person_code, issue_place_code
from keys.secrets import ServerSecrets
from loadtests.load.cast import PERSONS, VEHICLES, Bearer, Cast, Spot, place_ids, pseudonym

ISSUED_BEFORE_MS: Final = DAY_MS
"""Codes date from yesterday, so that a backlog's scans come after them."""
VALID_DAYS: Final = 7


def issued_cast(keys: ServerSecrets, now_ms: int, *, days: int) -> Cast:
    """A cast whose codes are good for that many days from now. The codes lack the signature, as scanners send them."""
    issued, expires = now_ms - ISSUED_BEFORE_MS, now_ms + days * DAY_MS

    def bearer(*, vehicle: bool) -> Bearer:
        subject, nonce = pseudonym(), secrets.token_bytes(CODE_NONCE_BYTES)
        text = issue_person_code(
            keys, bytes.fromhex(subject), vehicle=vehicle, issued=issued, expires=expires, nonce=nonce
        )
        return Bearer(subject, text[: text.rindex(".")])

    return Cast(
        [bearer(vehicle=False) for _ in range(PERSONS)],
        [bearer(vehicle=True) for _ in range(VEHICLES)],
        {place: issue_place_code(keys, place, issued=issued, expires=expires) for place in place_ids(Spot.DOOR)},
    )


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser("python -m loadtests.load.codes", description=__doc__.partition("\n")[2].strip())
    parser.add_argument("--keys", type=Path, required=True, help="the service's key file")
    parser.add_argument(
        "--days", type=int, default=VALID_DAYS, help="how long the codes are good (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    try:
        keys = load(given.keys)
    except Explained as error:
        print(error, file=sys.stderr)
        return 2
    sys.stdout.buffer.write(codec.to_json(issued_cast(keys, now_ms(), days=given.days)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
