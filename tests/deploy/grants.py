"""What a statement needs, what a user is granted: enough of ClickHouse's rules for the statements that we send.

The embedded engine has no users, so the stand-in cannot refuse what the deployment's server would; this can.
"""

import fnmatch
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

Privilege = tuple[str, str]
"""A privilege and a table, or a pattern of tables: `("SELECT", "log")`."""

_GRANT: Final = re.compile(r"GRANT (?P<what>[A-Z, ]+) ON (?:truyvet|system)\.(?P<table>[a-z_*]+)")
_COMMENT: Final = re.compile(r"--[^\n]*")
_STRING: Final = re.compile(r"'(?:[^'\\]|\\.)*'")
_NAME: Final = r"(?:truyvet\.)?`?([a-z][a-z_]*(?:\.[a-z_]+)?)`?"
_READ: Final = re.compile(rf"\b(?:FROM|JOIN)\s+{_NAME}(?!\s*\()", re.IGNORECASE)
_WITH: Final = re.compile(r"\b([a-z_]+)\s+AS\s*\(\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_NEEDS: Final[tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]] = (
    (re.compile(r"^CREATE DATABASE IF NOT EXISTS (truyvet)"), ("CREATE DATABASE",)),
    (re.compile(rf"^CREATE TABLE (?:IF NOT EXISTS )?{_NAME}"), ("CREATE TABLE",)),
    (re.compile(rf"^CREATE TABLE \S+ AS {_NAME}"), ("SELECT",)),
    (re.compile(rf"^DROP TABLE (?:IF EXISTS )?{_NAME}"), ("DROP TABLE",)),
    (re.compile(rf"^EXCHANGE TABLES {_NAME}"), ("SELECT", "INSERT", "CREATE TABLE", "DROP TABLE")),
    (re.compile(rf"^EXCHANGE TABLES .* AND {_NAME}"), ("SELECT", "INSERT", "CREATE TABLE", "DROP TABLE")),
    (re.compile(rf"^ALTER TABLE {_NAME}\s+MODIFY SETTING"), ("ALTER SETTINGS",)),
    (re.compile(rf"^ALTER TABLE {_NAME}\s+MODIFY COLUMN"), ("ALTER MODIFY COLUMN",)),
    (re.compile(rf"^ALTER TABLE {_NAME}\s+ADD COLUMN"), ("ALTER ADD COLUMN",)),
    (re.compile(rf"^ALTER TABLE {_NAME}\s+ADD INDEX"), ("ALTER ADD INDEX",)),
    (re.compile(rf"^ALTER TABLE {_NAME} (?:DROP PARTITION|DELETE)"), ("ALTER DELETE",)),
    (re.compile(rf"^INSERT INTO {_NAME}", re.IGNORECASE), ("INSERT",)),
    (re.compile(rf"^(?:DESCRIBE|DESC) TABLE {_NAME}", re.IGNORECASE), ("SELECT",)),
)
_HARMLESS: Final = re.compile(r"^(SELECT|WITH|INSERT|SHOW|DESC)\b", re.IGNORECASE)


def granted(users_xml: Path, user: str) -> list[Privilege]:
    """What the user may do, as privileges and patterns of tables."""
    element = ET.parse(users_xml).getroot().find(f"users/{user}/grants")
    privileges: list[Privilege] = []
    for query in element if element is not None else ():
        found = _GRANT.fullmatch(query.text or "")
        assert found, query.text
        privileges += [(what.strip(), found["table"]) for what in found["what"].split(",")]
    return privileges


def needed(sql: str) -> set[Privilege]:
    """What the statement needs, tables by name. Raises `AssertionError` for one of a kind that is not known here."""
    text = _STRING.sub("''", _COMMENT.sub("", sql)).strip()
    needs = {
        (what, found[1]) for pattern, privileges in _NEEDS if (found := pattern.search(text)) for what in privileges
    }
    common = {name.lower() for name in _WITH.findall(text)}
    needs |= {("SELECT", table) for table in _READ.findall(text) if table not in common}
    assert needs or _HARMLESS.match(text), text[:200]
    return {(what, table) for what, table in needs if not table.startswith("system.")}


def lacking(sql: str, privileges: list[Privilege]) -> set[Privilege]:
    """What the statement needs that nobody granted."""
    return {
        (what, table)
        for what, table in needed(sql)
        if not any(
            given in (what, "ALL") and (fnmatch.fnmatchcase(table, pattern) or what == "CREATE DATABASE")
            for given, pattern in privileges
        )
    }
