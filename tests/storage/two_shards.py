"""The engine and a cluster of two shards at which nobody listens. Arguments: a directory and the shards' ports.

Makes the tables (the local ones without replication, for which there is no Keeper here) and prints, as JSON, at which
shards each question finds nobody, or what the engine refuses it with.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import chdb

from projections.model import _DOUBTFUL, _first
from projections.scans_by_subject import SCANS_BY_SUBJECT
from storage.clickhouse import MIGRATIONS_TABLE, migrations, statements
from storage.cluster import QUERY_SETTINGS, Cluster
from tracing.gaps import RivalCounts, Tallies

CONFIG = """<clickhouse><remote_servers><country>
<shard><replica><host>127.0.0.1</host><port>{}</port></replica></shard>
<shard><replica><host>127.0.0.1</host><port>{}</port></replica></shard>
</country></remote_servers></clickhouse>"""
DEVICES = 16
PARAMETERS = {"after": "0", "upto": "5", "as_of": "5", "doubtful": "[1]"}
PROJECTION = (
    f"INSERT INTO scans_by_subject ({', '.join(SCANS_BY_SUBJECT.columns)})"
    f" SELECT {', '.join(SCANS_BY_SUBJECT.columns.values())} {_first(_DOUBTFUL)}"
)
QUESTIONS = {
    **{f"device {number}": f"SELECT count() FROM log WHERE device = {number}" for number in range(DEVICES)},
    "projection": PROJECTION,
    "tallies": Tallies.SQL,
    "rivals": RivalCounts.SQL,
    "progress": "SELECT max(received) FROM progress WHERE name = 'read-models'",
}


def unreplicated(statement: str) -> str:
    """The statement as a server of its own would run it."""
    here = re.sub(r"Replicated(\w*MergeTree)\('[^)]*'(?:, (\w+))?\)", r"\1(\2)", statement).replace("()", "")
    here = re.sub(r"replicated_deduplication_window\w* = \d+,?\s*", "", here)
    return here.replace(" ON CLUSTER country", "")


def main() -> None:
    """The process: one engine has one configuration, so it cannot be the tests' own."""
    directory, ports = Path(sys.argv[1]), sys.argv[2:]
    config = directory / "config.xml"
    config.write_text(CONFIG.format(*ports))
    connect = cast("Callable[[str], Any]", chdb.connect)
    engine = connect(f"{directory / 'engine'}?config-file={config}")
    cluster = Cluster("country", "truyvet")
    for statement in (cluster.create_database, "USE truyvet"):
        engine.query(unreplicated(statement))
    for plain in [MIGRATIONS_TABLE, *(one for _, sql in migrations() for one in statements(sql))]:
        for statement in cluster.statements(plain):
            engine.query(unreplicated(statement))
    for name, value in QUERY_SETTINGS.items():
        engine.query(f"SET {name} = '{value}'")
    asked = {}
    for question, sql in QUESTIONS.items():
        try:
            engine.query(sql, params=PARAMETERS)
        except RuntimeError as error:
            shards = [shard for shard, port in enumerate(ports, 1) if f"127.0.0.1:{port})" in str(error)]
            asked[question] = shards or str(error)[:200]
    print(json.dumps(asked))


if __name__ == "__main__":
    main()
