"""An archive that dies: `python -m tests.ingest.audit_archive_process REDIS_URL STORE_URL DATABASE STEP`.

It copies what waits and is killed, as by `kill -9`, right after the step of that name.
"""

import os
import signal
import sys

import redis

from ingest.audit_archive import AuditArchive
from storage.audit_stream import AuditStream
from storage.clickhouse import Store


def main(redis_url: str, store_url: str, database: str, deadly: str) -> None:
    def on_step(step: str) -> None:
        if step == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    stream, store = AuditStream(redis.Redis.from_url(redis_url)), Store(store_url, database=database)
    while AuditArchive(stream, store, on_step).step():
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
