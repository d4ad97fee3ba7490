"""docs/outbreak.md: every command of the guide runs, in its order, against a service of its own."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.supervisor import Embedded
from tests.app.conftest import settings_in

TEXT = (Path(__file__).parents[2] / "docs" / "outbreak.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SCRIPT_SECONDS_MAX = 600.0
"""Thirty commands, each a process of its own; most of it is never waited."""


class Played:
    """The guide's script after its run: the directory that it wrote to, and what it printed."""

    def __init__(self, directory: Path, said: str) -> None:
        self.directory = directory
        self.said = said

    def rows(self, name: str) -> list[dict[str, str]]:
        """A CSV file that the guide wrote."""
        with (self.directory / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    directory = tmp_path_factory.mktemp("outbreak")
    command = directory / "bin" / "truyvet"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m app.cli "$@"\n', encoding="utf-8")
    command.chmod(0o700)
    with Embedded(settings_in(directory)) as service:
        environment = service.settings.process_environment()
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", "\n".join(BLOCKS)],
            cwd=directory,
            env=environment | {"PATH": f"{command.parent}:{environment['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SCRIPT_SECONDS_MAX,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-4_000:]
    return Played(directory, done.stdout)


def test_the_guide_has_all_its_commands() -> None:
    assert len(BLOCKS) == 8
    assert sum(block.count("truyvet ") for block in BLOCKS) >= 25


def test_the_case_has_contacts_and_they_are_listed(played: Played) -> None:
    answer = json.loads((played.directory / "trace.json").read_bytes())
    contacts = {contact["subject"] for contact in answer["contacts"]}
    assert contacts
    listed = {row["subject"]: row["state"] for row in played.rows("quarantine.csv")}
    assert {subject for subject, state in listed.items() if state == "f1"} == contacts


def test_a_name_was_revealed_and_is_in_no_export(played: Played) -> None:
    assert re.search(r"Resident \d+", played.said)
    exported = [file for file in played.directory.rglob("*") if {"epicontacts", "excel"} & set(file.parts)]
    assert len([file for file in exported if file.is_file()]) >= 4
    assert not any(b"Resident" in file.read_bytes() for file in exported if file.is_file())


def test_the_audit_chain_holds(played: Played) -> None:
    assert json.loads((played.directory / "head.json").read_bytes())
    assert re.search(r"^released +1$", played.said, re.MULTILINE)
