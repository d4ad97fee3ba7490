"""epicontacts, Go.Data and SORMAS: what their importers ask for, as published.

Field names were read from https://github.com/reconhub/epicontacts (R/make_epicontacts.R), from the models of
https://github.com/WorldHealthOrganization/GoDataSource-API (common/models) and the required fields of the import pages
in https://github.com/WorldHealthOrganization/GoDataSource-FrontEnd, and from
https://github.com/SORMAS-Foundation/SORMAS-Project (CaseDataDto, ContactDto, PersonDto, and its importers' test files).
"""

import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given, settings

from tests.tracing.exports.samples import (
    F0,
    answer,
    answers,
    contact,
    exported,
    known,
    met,
    pseudonym,
    registries,
    small,
    source_of,
)
from tracing.answer import Answer
from tracing.exports.formats import BEYOND_GODATA, Format
from tracing.exports.source import Known, Source

GODATA_REQUIRED = {
    "cases.csv": {"firstName", "dateOfReporting", "classification"},
    "contacts.csv": {
        "firstName",
        "dateOfReporting",
        "relationship.persons[].id",
        "relationship.contactDate",
        "relationship.certaintyLevelId",
    },
    "relationships.csv": {"contactDate", "certaintyLevelId"},
}
GODATA_FIELDS = {
    *("visualId", "firstName", "dateOfReporting", "dateOfLastContact", "classification"),
    *("persons[].id", "contactDate", "contactDateEstimated", "certaintyLevelId", "comment"),
}
GODATA_REFERENCES = {
    "LNG_REFERENCE_DATA_CATEGORY_CASE_CLASSIFICATION_CONFIRMED",
    *(f"LNG_REFERENCE_DATA_CATEGORY_CERTAINTY_LEVEL_{level}" for level in ("1_LOW", "2_MEDIUM", "3_HIGH")),
}
SORMAS_CASE_FIELDS = {
    *("disease", "person.firstName", "person.lastName", "person.sex", "reportDate", "caseClassification"),
    *("externalID", "responsibleRegion", "responsibleDistrict", "additionalDetails"),
}
SORMAS_CONTACT_FIELDS = {
    *("caseIdExternalSystem", "caseOrEventInformation", "disease", "reportDateTime", "region", "district"),
    *("multiDayContact", "firstContactDate", "lastContactDate", "description", "externalID"),
    *("person.firstName", "person.lastName", "person.sex"),
}


def tables(source: Source, format: Format) -> dict[str, Any]:
    """The CSV files as pandas reads them, every cell a text."""
    files, _ = exported(source, format)
    return {
        name: pandas.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        for name, data in files.items()
        if name.endswith(".csv")
    }


def epicontacts_accepts(linelist: Any, contacts: Any) -> None:
    """What `make_epicontacts` stops at, and the endpoint rule of our own."""
    assert linelist.columns[0] == "id"
    assert list(contacts.columns[:2]) == ["from", "to"]
    assert len(linelist) >= 1
    assert not linelist["id"].duplicated().any()
    assert not contacts.duplicated(["from", "to"]).any()
    assert set(contacts["from"]) | set(contacts["to"]) <= set(linelist["id"])


@given(answers(), registries)
@settings(max_examples=20)
def test_epicontacts_gets_unique_ids_and_each_pair_once(saved: Answer, registry: Known) -> None:
    found = tables(source_of(saved, registry), Format.EPICONTACTS)
    epicontacts_accepts(found["linelist.csv"], found["contacts.csv"])
    assert len(found["contacts.csv"]) == sum(len(contact.via) for contact in saved.contacts)


def has_epicontacts() -> bool:
    if shutil.which("Rscript") is None:
        return False
    asked = ["Rscript", "-e", "quit(status = !requireNamespace('epicontacts', quietly = TRUE))"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed (r-base-core)")
def test_r_reads_the_line_list_and_the_contacts(tmp_path: Path) -> None:
    files, _ = exported(source_of(small()), Format.EPICONTACTS)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    script = files["read.R"].decode()
    if not has_epicontacts():
        # Everything that the script does but the last step, whose conditions are checked as the package does.
        script = re.sub(r"(?m)^(library|x <-).*\n", "", script)
        script += "x <- list(linelist = linelist, contacts = contacts)\nstopifnot(!any(duplicated(linelist$id)))\n"
    script += (
        "stopifnot(nrow(x$linelist) == 4, nrow(x$contacts) == 4, is.character(x$linelist$id),\n"
        "  all(c(x$contacts$from, x$contacts$to) %in% x$linelist$id), inherits(x$contacts$first, 'POSIXct'),\n"
        "  format(x$contacts$first[1], '%Y-%m-%d %H:%M') == '2021-10-22 08:00')\n"
    )
    done = subprocess.run(["Rscript", "-e", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@given(answers(), registries)
@settings(max_examples=20)
def test_go_data_gets_the_fields_it_requires_by_its_own_names(saved: Answer, registry: Known) -> None:
    found = tables(source_of(saved, registry), Format.GODATA)
    for name, table in found.items():
        required = GODATA_REQUIRED["contacts.csv" if name.startswith("contacts") else name]
        assert required <= set(table.columns)
        fields = {re.sub(r"\[\d\]", "[]", column).removeprefix("relationship.") for column in table.columns}
        assert fields <= GODATA_FIELDS
        assert (table[sorted(required)] != "").all(axis=None)
        for column in table.columns:
            if "date" in column.lower() and not column.endswith("Estimated"):
                table[column].map(pandas.Timestamp.fromisoformat)
            if column.endswith(("LevelId", "classification")):
                assert set(table[column]) <= GODATA_REFERENCES


@given(answers())
@settings(max_examples=20)
def test_go_data_gets_every_pair_once_and_knows_both_ends(saved: Answer) -> None:
    source = source_of(saved)
    found = tables(source, Format.GODATA)
    people = pandas.concat([found[name]["visualId"] for name in found if name != "relationships.csv"])
    assert not people.duplicated().any()
    pairs = [
        *zip(*(found["relationships.csv"][f"persons[{end}].id"] for end in (0, 1)), strict=True),
        *(
            pair
            for name in ("contacts.csv", "contacts_of_contacts.csv")
            for pair in zip(found[name]["relationship.persons[].id"], found[name]["visualId"], strict=True)
        ),
    ]
    assert sorted(pairs) == sorted((pair.source, pair.target) for pair in source.pairs())
    assert {end for pair in pairs for end in pair} <= set(people)


def test_go_data_is_told_the_confirmation_the_last_day_and_how_sure_it_is() -> None:
    found = tables(source_of(small()), Format.GODATA)
    assert found["cases.csv"].loc[0, ["visualId", "dateOfReporting"]].tolist() == [F0, "2021-10-22"]
    sure = found["contacts.csv"].set_index("visualId")["relationship.certaintyLevelId"]
    assert (sure[pseudonym(1)][-6:], sure.iloc[1][-8:]) == ("3_HIGH", "2_MEDIUM")


def test_who_is_beyond_go_data_is_said_to_be_left_out() -> None:
    start = 1_634_860_800_000
    chain = [F0, pseudonym(1), pseudonym(2), pseudonym(3)]
    people = [contact(chain[n], n, met(chain[n - 1], "p", start + n, start + n + 50)) for n in (1, 2, 3)]
    files, manifest = exported(source_of(answer(*people, depth=3)), Format.GODATA)
    assert manifest["notes"] == [BEYOND_GODATA]
    assert pseudonym(3).encode() not in b"".join(files.values())


@given(answers(), registries)
@settings(max_examples=20)
def test_sormas_gets_its_own_columns(saved: Answer, registry: Known) -> None:
    files, _ = exported(source_of(saved, registry), Format.SORMAS)
    entities, rest = files["cases.csv"].split(b"\r\n", 1)
    cases = pandas.read_csv(io.BytesIO(rest), dtype=str, keep_default_na=False)
    contacts = pandas.read_csv(io.BytesIO(files["contacts.csv"]), dtype=str, keep_default_na=False)
    assert set(entities.decode().split(",")) == {"CaseData"}
    assert len(entities.decode().split(",")) == len(cases.columns)
    assert set(cases.columns) == SORMAS_CASE_FIELDS
    assert set(contacts.columns) == SORMAS_CONTACT_FIELDS
    assert len(cases) == len(saved.index)
    assert contacts["externalID"].tolist() == [contact.subject for contact in saved.contacts]
    for table, columns in (
        (cases, ["reportDate"]),
        (contacts, ["reportDateTime", "firstContactDate", "lastContactDate"]),
    ):
        for column in columns:
            table[column].map(lambda text: pandas.to_datetime(text, format="%m/%d/%Y"))
    of_f0 = contacts[contacts["person.lastName"] == "F1"]
    assert set(of_f0["caseIdExternalSystem"]) <= {f"case-{each.subject[:2]}" for each in saved.index}
    assert (contacts["disease"] == "CORONAVIRUS").all()


def test_sormas_is_told_when_a_case_was_confirmed() -> None:
    files, _ = exported(source_of(small(), known()), Format.SORMAS)
    assert files["cases.csv"].splitlines()[2].startswith(f"CORONAVIRUS,{F0},F0,UNKNOWN,10/22/2021,CONFIRMED".encode())
