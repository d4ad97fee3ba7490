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
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before[0], before[1]


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
