-- The feed of clusters, entry by entry, copied for good from the stream: where that was lost, it is put back from here,
-- so that nobody is told again what they were told before.
--
-- ORDER BY number: its place in the feed, and the order in which it is read. Copied twice, an entry lies here once.
CREATE TABLE IF NOT EXISTS clusters (
    number UInt64,
    announcement String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
