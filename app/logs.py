"""Logs for people on a terminal and as JSON lines elsewhere; never with a person in them.

Whoever logs writes no personal data. The redaction here is the second line: what looks like a pseudonym, a citizen
number or a code never reaches the output, wherever it came from (a library's message, an exception's text). Libraries
are heard from `warning` on alone, whatever the level: nobody here knows what they quote.
"""

import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, TextIO

import msgspec

from app.settings import Settings
from events import codec

PERSONAL: Final = re.compile(
    r"TV1\.[A-Za-z0-9_.-]+"  # a code's text
    r"|(?<![0-9A-Za-z])[0-9a-f]{32}(?![0-9A-Za-z])"  # a pseudonym
    r"|(?<![0-9])[0-9]{12}(?![0-9])"  # a citizen number
)
REDACTED: Final = "[redacted]"
OWN: Final = ("truyvet", "app", "tracing", "ingest", "projections", "storage", "keys", "events", "loadtests")
"""The loggers that TRUYVET_LOG_LEVEL is about, with all beneath them."""


def redacted(text: str) -> str:
    """The text without anything that looks like personal data."""
    return PERSONAL.sub(REDACTED, text)


def fields(**named: Any) -> dict[str, Any]:
    """What a line says beside its words, for logging's `extra`: text, numbers or counts by name; empty ones left out.

    They may name a batch (the receipt's `batch`), never a device, a place or a person.
    """
    return {"fields": {name: value for name, value in named.items() if value not in ("", {}, None)}}


class JsonLines(logging.Formatter):
    """One JSON object a line: `at` (RFC 3339, UTC), `level`, `process`, `logger`, `message`, its fields, `error`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process: Final = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        line |= _deeply_redacted(msgspec.to_builtins(_fields(record), str_keys=True))
        if record.exc_info:
            line["error"] = redacted(self.formatException(record.exc_info))
        return codec.to_json(line).decode()


class HumanLines(logging.Formatter):
    """`12:30:01 ingest  warning: message (batch=…)`, local time."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process: Final = process

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {self._process:<8} {level}{redacted(record.getMessage())}"
        said = ", ".join(f"{name}={value}" for name, value in _fields(record).items())
        line += f" ({redacted(said)})" if said else ""
        if record.exc_info:
            line += "\n" + redacted(self.formatException(record.exc_info))
        return line


def configure(settings: Settings, process: str, output: TextIO = sys.stderr) -> None:
    """Send this process's logs to `output`, under its name."""
    human = settings.log_format == "human" or (settings.log_format == "auto" and output.isatty())
    handler = logging.StreamHandler(output)
    handler.setFormatter(HumanLines(process) if human else JsonLines(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level = logging.getLevelName(settings.log_level.upper())
    root.setLevel(max(level, logging.WARNING))
    for name in OWN:
        logging.getLogger(name).setLevel(level)
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    named: Mapping[str, Any] = getattr(record, "fields", {})
    return named


def _deeply_redacted(value: Any) -> Any:
    """What JSON can hold without what looks like personal data, at any depth, in names and numbers too."""
    match value:
        case dict():
            return {redacted(name): _deeply_redacted(each) for name, each in value.items()}
        case list():
            return [_deeply_redacted(each) for each in value]
        case str():
            return redacted(value)
    return REDACTED if PERSONAL.search(str(value)) else value


def _rfc3339(seconds: float) -> str:
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milliseconds:03d}Z"
