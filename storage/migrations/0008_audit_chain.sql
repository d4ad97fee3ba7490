-- The audit log as a chain: every entry carries the SHA-256 over the one before it, itself and its number
-- (events/audit.py). Filled from the audit stream, exactly once, by ingest/audit_archive.py and by nothing else.
--
-- ORDER BY number: the chain is walked in this order, and pages are read from its end. A month is one partition, so that
--   a walk opens few parts; nothing is ever dropped from here.
-- people: tags of those who were looked at (keys/audit_chain.py), no pseudonyms; a person's own log is found by them.
-- Deduplication window: a range that is inserted again after a crash carries the same token.
--
-- Table `audit` keeps what was recorded before there was a chain; nothing reads or fills it any more.
CREATE TABLE IF NOT EXISTS audit_chain (
    number UInt64 CODEC(Delta, ZSTD(1)),
    hash FixedString(32) CODEC(NONE),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    actor String CODEC(ZSTD(1)),
    token String CODEC(ZSTD(1)),
    role LowCardinality(String),
    action LowCardinality(String),
    object String CODEC(ZSTD(1)),
    purpose String CODEC(ZSTD(1)),
    people Array(FixedString(16)) CODEC(ZSTD(1)),
    digest String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY number
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Whom a saved trace names, so that a person can be told which of them did. Filled together with `traces`.
--
-- ORDER BY (subject, trace): asked by subject. A trace that is saved twice lies here once.
CREATE TABLE IF NOT EXISTS trace_subjects (
    subject FixedString(16) CODEC(ZSTD(1)),
    trace String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (subject, trace)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
