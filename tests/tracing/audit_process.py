"""Another process that writes into the audit chain: `python -m tests.tracing.audit_process REDIS_URL NAME COUNT`.

It begins once a line comes in, so that several begin together.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import redis

from events.audit import START, AuditEvent, Head
from storage.audit_stream import AuditStream
from tracing.audit_writer import AuditWriter, Draft

THREADS = 3


def draft(name: str, number: int) -> Draft:
    return Draft(
        AuditEvent(
            number=0,
            at=number,
            actor=name,
            token="",
            role="analyst",
            action="case-read",
            object=str(number),
            purpose="a good purpose",
        )
    )


def writer(url: str) -> AuditWriter:
    def resumed(_: Head) -> Draft:
        raise AssertionError("nothing was forgotten")

    return AuditWriter(AuditStream(redis.Redis.from_url(url)), lambda: START, resumed)


def main(url: str, name: str, count: int) -> None:
    one = writer(url)
    one.head()
    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda number: one.append([draft(name, number)]), range(count)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
