-- The log: every delivery of every accepted scan, appended by the sink and by nothing else.
--
-- ORDER BY (device, seq): a scan's identity. A later delivery of the same pair lies beside the first, which
--   `min(received)` finds; `prove`, gap reports and the projections' first-delivery check all ask by this key.
-- PARTITION BY the day of `received`: inserts touch one partition, retention drops whole ones, and because the
--   expression reads `received`, each part knows its span of it: "what came in since" reads only new parts.
-- Deduplication window: an insert repeated under its token after a crash is dropped, see ingest/sink.py.
-- fsync: the sink acknowledges to the stream right after the insert, so the insert must be on disk.
CREATE TABLE IF NOT EXISTS log (
    device UInt32 CODEC(Delta, ZSTD(1)),
    key UInt16 CODEC(ZSTD(1)),
    seq UInt64 CODEC(Delta, ZSTD(1)),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    place UInt32 CODEC(ZSTD(1)),
    subject FixedString(16) CODEC(ZSTD(1)),
    kind Enum8('in' = 1, 'out' = 2, 'pass' = 3) CODEC(ZSTD(1)),
    how Enum8('code' = 1, 'citizen' = 2, 'subject' = 3, 'phone' = 4) CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received)
ORDER BY (device, seq)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Scans of good batches that were not taken, with the reason. Same key, same questions.
CREATE TABLE IF NOT EXISTS refused (
    device UInt32,
    key UInt16,
    seq UInt64,
    at DateTime64(3, 'UTC'),
    received DateTime64(3, 'UTC'),
    kind Enum8('in' = 1, 'out' = 2, 'pass' = 3),
    reason Enum8('bad_code' = 1, 'wrong_code' = 2, 'unknown_issuer' = 3, 'expired_code' = 4, 'revoked_code' = 5,
        'bad_citizen_number' = 6, 'bad_subject' = 7, 'subject_missing' = 8, 'subject_ambiguous' = 9,
        'subject_not_allowed' = 10, 'unknown_place' = 11, 'place_missing' = 12, 'place_not_allowed' = 13,
        'time_out_of_range' = 14, 'seq_repeated' = 15)
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received)
ORDER BY (device, seq)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- The signed requests as they came, sealed. Found by device and the span of seqs; one row a batch. The body is
-- encrypted and does not compress, so no codec tries.
CREATE TABLE IF NOT EXISTS evidence (
    device UInt32,
    key UInt16,
    seq_min UInt64,
    seq_max UInt64,
    received DateTime64(3, 'UTC'),
    entry String,
    sealed String CODEC(NONE)
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received)
ORDER BY (device, seq_min)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1,
    index_granularity = 128;

-- Stream entries that could not be read, with the reason and their bytes. Nothing waits for them.
CREATE TABLE IF NOT EXISTS poison (
    entry String,
    received DateTime64(3, 'UTC'),
    reason String,
    payload String
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received)
ORDER BY entry
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
