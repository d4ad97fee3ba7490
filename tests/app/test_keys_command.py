"""`truyvet keys retire-directory`: nothing is destroyed while somebody's key hangs on it, and it says why."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import cli
from app.key_file import load, load_or_create, rotate
from app.settings import Settings
from tracing.routes.directory import DirectoryKeys, KeyCount

NOW = 1_635_000_000_000


class Service:
    """What the trace service answers."""

    def __init__(self, answer: DirectoryKeys) -> None:
        self._answer = answer

    def directory_keys(self) -> DirectoryKeys:
        return self._answer


@pytest.mark.parametrize(
    ("current", "old", "broken", "said"),
    [
        (1, 0, 0, "does not use the newest"),
        (2, 5, 0, "5 keys are still to be wrapped anew"),
        (2, 5, 2, "5 keys are still to be wrapped anew"),
        (2, 2, 2, "2 keys of people cannot be unwrapped"),
        (2, 1, 2, "1 key of a person cannot be unwrapped"),  # the other one was erased since
        (2, 0, 2, ""),
        (2, 0, 0, ""),
    ],
)
def test_older_directory_keys_are_destroyed_once_nobody_hangs_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, current: int, old: int, broken: int, said: str
) -> None:
    settings = Settings.from_environment({"TRUYVET_DATA_DIR": str(tmp_path)})
    load_or_create(settings.keys_path, data_exists=False, now_ms=NOW)
    rotate(settings.keys_path, NOW)
    counts = [KeyCount(kid=kid, people=people) for kid, people in ((1, old), (2, 7)) if people]
    service = Service(DirectoryKeys(current=current, keys=counts if current == 2 else [], broken=broken))
    monkeypatch.setattr("app.commands.keys.api_client", lambda _: service)
    result = CliRunner().invoke(cli, ["keys", "retire-directory"], env=settings.environment())
    assert (result.exit_code, said in result.output) == (1 if said else 0, True), result.output
    assert [key.kid for key in load(settings.keys_path).directory_keys] == ([1, 2] if said else [2])
