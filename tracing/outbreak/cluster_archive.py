"""The feed of clusters copied beside the log, so that it survives the loss of the stream."""

from typing import Final

from events import codec
from events.clusters import Announcement
from storage.clickhouse import Store
from storage.clusters import READ_ENTRIES, ClusterFeed
from storage.errors import StreamDown

COLUMNS: Final = ("number", "announcement")


class ClusterArchive:
    """The table `clusters`. Raises `StoreDown` and `StreamDown`; for one thread."""

    def __init__(self, feed: ClusterFeed, store: Store) -> None:
        self._feed: Final = feed
        self._store: Final = store
        self._copied: int | None = None

    def step(self) -> int:
        """Copy what is new. Returns how many entries."""
        copied = self._newest() if self._copied is None else self._copied
        count = 0
        while entries := self._feed.after(copied):
            rows = [(one.number, codec.to_json(one.announcement).decode()) for one in entries]
            self._store.insert("clusters", COLUMNS, rows)
            copied, count = entries[-1].number, count + len(entries)
            if len(entries) < READ_ENTRIES:
                break
        self._copied = copied
        return count

    def restore(self) -> int:
        """Put back what the stream has lost and the copy has, under the same numbers. Returns how many entries.

        An entry that another process puts back at the same time is the same.
        """
        kept, newest = self._newest() if self._copied is None else self._copied, self._feed.newest()
        if newest >= kept:
            return 0
        rows = self._store.rows(
            "SELECT number, any(announcement) FROM clusters WHERE number > {newest:UInt64}"
            " GROUP BY number ORDER BY number",
            {"newest": newest},
        )
        for number, text in rows:
            if not self._feed.append(int(number), codec.from_json(text, Announcement)) and self._feed.newest() < number:
                raise StreamDown("an entry of the feed of clusters could not be put back")
        return len(rows)

    def _newest(self) -> int:
        return int(self._store.rows("SELECT max(number) FROM clusters")[0][0])
