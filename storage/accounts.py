"""What Redis keeps of each device beside the stream: the seqs that were seen, the signatures that were used up."""

from collections.abc import Sequence
from typing import Any, Final, cast

import redis

from storage.errors import StreamDown
from storage.partitions import Partition, partition_of, shared_key
from storage.runs import Run, parse_runs

SIGNED: Final = shared_key("signed:")
SIGNATURE_BYTES: Final = 16
"""So much of a signature names it."""


class DeviceAccounts:
    """Synchronous and thread-safe; every method raises `StreamDown`."""

    def __init__(self, client: "redis.Redis", partitions: "Sequence[redis.Redis] | None" = None) -> None:
        """`client` has what all share; `partitions` are clients of each partition's server, in order."""
        self._redis: Final = client
        self._partitions: Final = partitions or [client]

    def seen(self, device: int) -> list[Run]:
        """The runs of seqs that the edge has answered for, lowest first.

        `publish.lua` forgets the shortest beyond 512 of them, and all are gone where Redis lost its data.
        """
        number = partition_of(device, len(self._partitions))
        key = Partition(number, len(self._partitions)).seen
        account = cast(bytes | None, self._call(lambda: self._partitions[number].hget(key, str(device))))
        return parse_runs(account.decode().partition("|")[0]) if account else []

    def now_ms(self, device: int) -> int:
        """The clock of the device's stream server, which numbers its entries: Unix ms."""
        seconds, microseconds = self._call(self._partitions[partition_of(device, len(self._partitions))].time)
        return int(seconds) * 1000 + int(microseconds) // 1000

    def first_use(self, signature: bytes, seconds: int) -> bool:
        """Whether nobody has used this signature yet; remembers it for that long."""
        name = SIGNED + signature[:SIGNATURE_BYTES].hex()
        return bool(self._call(lambda: self._redis.set(name, b"", nx=True, ex=seconds)))

    def _call(self, ask: Any) -> Any:
        try:
            return ask()
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
