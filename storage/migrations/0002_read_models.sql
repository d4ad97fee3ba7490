-- Read models hold scans, not stays: a stay depends on as_of, on the dwells and on revocations known then, and
-- is walked from these rows when somebody asks (docs/adr/0004). Both hold the first delivery of each scan, once.
-- ReplacingMergeTree on a key that names the scan makes a repeated projection step harmless; readers use FINAL
-- or drop equal rows.

-- "Where was this subject?" The walk of stays wants one subject's scans in order of time.
CREATE TABLE IF NOT EXISTS scans_by_subject (
    subject FixedString(16) CODEC(ZSTD(1)),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    device UInt32 CODEC(ZSTD(1)),
    seq UInt64 CODEC(ZSTD(1)),
    key UInt16 CODEC(ZSTD(1)),
    place UInt32 CODEC(ZSTD(1)),
    kind Enum8('in' = 1, 'out' = 2, 'pass' = 3) CODEC(ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(at)
ORDER BY (subject, at, device, seq)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1;

-- "Who was scanned here around then?" One UInt64 of place and hour, so that a question about many stays is a set
-- on the first key column, which the engine searches directly instead of planning an OR of ranges.
CREATE TABLE IF NOT EXISTS scans_by_place_hour (
    place_hour UInt64 CODEC(Delta, ZSTD(1)),
    subject FixedString(16) CODEC(ZSTD(1)),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    device UInt32 CODEC(ZSTD(1)),
    seq UInt64 CODEC(ZSTD(1)),
    key UInt16 CODEC(ZSTD(1)),
    kind Enum8('in' = 1, 'out' = 2, 'pass' = 3) CODEC(ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(at)
ORDER BY (place_hour, subject, at, device, seq)
SETTINGS index_granularity = 256, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1;

-- Up to which `received` each projection has folded the log in; the newest row of a name counts. Kept beside the
-- read models, so that a restored backup is never ahead of its data.
CREATE TABLE IF NOT EXISTS progress (
    name String,
    received Int64,
    rows UInt64
)
ENGINE = ReplacingMergeTree(received)
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
