-- "Who stayed here around then?" again, in granules of 20 rows instead of 32: of four rows that a question read, one was
-- there for the granule's sake alone. Granules of 16 would take twice as long to merge, and 11 bytes a stay more.
--
-- A stay that a day has ended stands at its last hour, too: whoever asks for the hours from a dwell before a span on then
-- finds everybody whose stay there a late scan elsewhere could move into the span (docs/adr/0034).
--
-- The engine cannot change granules in place. Stays follow from the scans, so they are settled anew; until then traces
-- walk the scans. Whoever is of before may run for a while yet and believe a mark of before: so `settled` is `settled_for`
-- now, which they do not find, and marks say which form of the table they are of (storage/settled.py).
DROP TABLE IF EXISTS stays_by_place_hour SYNC;

CREATE TABLE IF NOT EXISTS stays_by_place_hour (
    place_hour UInt64 CODEC(Delta, LZ4),
    subject FixedString(16) CODEC(LZ4),
    start DateTime64(3, 'UTC') CODEC(LZ4),
    end DateTime64(3, 'UTC') CODEC(LZ4),
    entry Enum8('measured' = 1, 'imputed' = 2) CODEC(LZ4),
    exit Enum8('gone' = 0, 'measured' = 1, 'moved' = 2, 'dwell' = 3, 'unended' = 4) CODEC(LZ4),
    scans Array(Tuple(device UInt32, seq UInt64)) CODEC(LZ4),
    settled_for Int64 CODEC(LZ4)
)
ENGINE = ReplacingMergeTree(settled_for)
PARTITION BY toMonday(start)
PRIMARY KEY place_hour
ORDER BY (place_hour, subject, start, entry)
SETTINGS index_granularity = 20, min_bytes_for_wide_part = 1000000000000, min_rows_for_wide_part = 1000000000000,
    merge_selector_base = 10, auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1,
    min_age_to_force_merge_seconds = 300, min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1, fsync_part_directory = 1;

ALTER TABLE settled DROP PARTITION ID 'all';
