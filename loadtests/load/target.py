"""The service under load: one that runs somewhere, or one of the load test's own on this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from app.clock import now_ms
from app.key_file import load
from app.ports import on_free_ports
from app.settings import Settings
from app.supervisor import Embedded
from events import codec
from loadtests.load.codes import VALID_DAYS, issued_cast

CODES_FILE: Final = "codes.json"
CODES_MODE: Final = 0o600


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send, and as whom to ask. `codes` is None where the load test's people show none."""

    ingest_url: str
    api_url: str
    token: str
    codes: Path | None


@contextlib.contextmanager
def own_service(directory: Path) -> Iterator[Target]:
    """A whole service in that directory, with codes for the load test's people. Raises as `Embedded.start` does."""
    settings = Settings.from_environment(
        {"TRUYVET_DATA_DIR": str(directory), "TRUYVET_LOG_LEVEL": "warning"} | on_free_ports()
    )
    with Embedded(settings) as service:
        codes = directory / CODES_FILE
        codes.touch(CODES_MODE)
        codes.write_bytes(codec.to_json(issued_cast(load(settings.keys_path), now_ms(), days=VALID_DAYS)))
        yield Target(ingest_url=settings.ingest, api_url=settings.api, token=service.token, codes=codes)
