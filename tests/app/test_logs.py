import io
import json
import logging
from collections.abc import Iterator

import msgspec
import pytest

from app import logs
from app.settings import Settings

PSEUDONYM = "9ec3ee0f452ff6b84e1db16b3bca7622"
CITIZEN = "001201000001"
CODE = "TV1.AQEAAAFrAgqFaxR_hR9_vH3Nw5xot4_fo3N6hQu_P3PZxO5n715LPciMrPZuPlA-S.lrqOAqOw3dnc"


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    own = [logging.getLogger(name) for name in logs.OWN]
    before = (root.handlers[:], root.level, [logger.level for logger in own])
    yield
    root.handlers[:], root.level = before[0], before[1]
    for logger, level in zip(own, before[2], strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize("form", ["json", "human"])
@pytest.mark.parametrize("personal", [PSEUDONYM, CITIZEN, CODE])
def test_nobody_is_named(form: str, personal: str) -> None:
    output = io.StringIO()
    settings = msgspec.structs.replace(Settings.from_environment({}), log_format=form)
    logs.configure(settings, "test", output)
    try:
        raise ValueError(f"cannot read {personal}")
    except ValueError:
        logging.getLogger("x").exception("subject %s failed", personal)
    assert personal not in output.getvalue()
    assert output.getvalue().count(logs.REDACTED) >= 2


def test_what_names_nobody_is_left_alone() -> None:
    text = "batch 1634800000123-0 of gate-1.1 at 127.0.0.1:8470, 1634800000123 ms, pid 12345"
    assert logs.redacted(text) == text


def test_json_lines_are_json() -> None:
    output = io.StringIO()
    logs.configure(Settings.from_environment({"TRUYVET_LOG_FORMAT": "json"}), "ingest", output)
    logging.getLogger("truyvet.x").warning("two\nlines %d", 7)
    logging.getLogger("truyvet.x").debug("unheard")
    (line,) = output.getvalue().splitlines()
    found = json.loads(line)
    assert (found["level"], found["process"], found["message"]) == ("warning", "ingest", "two\nlines 7")


@pytest.mark.parametrize("form", ["json", "human"])
def test_fields_are_written_without_what_looks_personal(form: str) -> None:
    output = io.StringIO()
    logs.configure(msgspec.structs.replace(Settings.from_environment({}), log_format=form), "sink", output)
    said = logs.fields(batch="1795306465309-0", refused={}, problem="", note=f"of {CITIZEN}", rows=0)
    logging.getLogger("truyvet.x").info("laid", extra=said)
    line = output.getvalue()
    assert "1795306465309-0" in line
    assert CITIZEN not in line
    if form == "json":
        found = json.loads(line)
        assert (found["batch"], found["rows"], found["note"]) == ("1795306465309-0", 0, f"of {logs.REDACTED}")
        assert not {"refused", "problem"} & found.keys()
    else:
        assert line.endswith(f"laid (batch=1795306465309-0, note=of {logs.REDACTED}, rows=0)\n")


class Told(msgspec.Struct):
    """What a field may hold too."""

    by: dict[str, list[str]]


@pytest.mark.parametrize("form", ["json", "human"])
@pytest.mark.parametrize(
    "value",
    [
        [f"of {CITIZEN}"],
        (CODE,),
        {PSEUDONYM: 1},
        {"refused": {"of": [PSEUDONYM]}},
        int(f"9{CITIZEN[1:]}"),
        Told({"x": [CITIZEN]}),
    ],
)
def test_fields_name_nobody_at_any_depth(form: str, value: object) -> None:
    output = io.StringIO()
    logs.configure(msgspec.structs.replace(Settings.from_environment({}), log_format=form), "sink", output)
    logging.getLogger("truyvet.x").info("laid", extra=logs.fields(told=value, counts={"bad": 2}))
    line = output.getvalue()
    assert logs.REDACTED in line
    assert not [each for each in (PSEUDONYM, CITIZEN, CITIZEN[1:], CODE) if each in line]
    if form == "json":
        assert json.loads(line)["counts"] == {"bad": 2}


def test_libraries_are_heard_when_they_warn_whatever_the_level() -> None:
    output = io.StringIO()
    logs.configure(Settings.from_environment({"TRUYVET_LOG_LEVEL": "debug"}), "trace", output)
    for name in ("urllib3.connectionpool", "clickhouse_connect.driver", "uvicorn.error"):
        logging.getLogger(name).info("POST /?subject=%s", "somebody")
        logging.getLogger(name).warning("of %s", name)
    for name in ("truyvet.edge", "app.processes.life", "ingest.receive", "tracing.registry"):
        logging.getLogger(name).debug("of %s", name)
    text = output.getvalue()
    assert "somebody" not in text
    assert len(text.splitlines()) == 7
