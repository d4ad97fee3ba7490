-- Saved traces: the question and the answer, byte for byte, to be read again.
CREATE TABLE IF NOT EXISTS traces (
    id String,
    asked_at DateTime64(3, 'UTC'),
    actor String,
    fingerprint FixedString(32),
    question String CODEC(ZSTD(3)),
    answer String CODEC(ZSTD(3))
)
ENGINE = MergeTree
ORDER BY (asked_at, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Who looked at whom, when, why. Append-only; ordered by time because that is how it is read.
CREATE TABLE IF NOT EXISTS audit (
    at DateTime64(3, 'UTC'),
    actor String,
    token String,
    role Enum8('admin' = 1, 'analyst' = 2, 'officer' = 3, 'viewer' = 4),
    action LowCardinality(String),
    object String,
    purpose String
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY at
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The control stream's copy for good, event by event: `truyvet migrate` replays it where the stream was lost.
CREATE TABLE IF NOT EXISTS control (
    entry String,
    at Int64,
    event String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (at, entry)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
