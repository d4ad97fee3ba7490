-- "Who stayed here around then?" again, in granules of 20 rows instead of 32: of four rows that a question read, one was
-- there for the granule's sake alone. Finer ones would take more bytes and be no quicker.
--
-- A stay that a day has ended stands at its last hour, too: whoever asks for the hours from a dwell before a span on then
-- finds everybody whose stay there a late scan elsewhere could move into the span (docs/adr/0034).
--
-- The engine spends more on every column of every range of granules than on what lies in them. So what is always read
-- together is one column, laid out as projections/stay_rows.py says, and a scan another; who asks by hand asks for the
-- aliases, which take them apart.
--
-- The engine cannot change granules in place. Stays follow from the scans, so they are settled anew; until then traces
-- walk the scans. Whoever is of before may run for a while yet and believe a mark of before: so `settled` is `settled_for`
-- now, which they do not find, and marks say which form of the table they are of (storage/settled.py).
DROP TABLE IF EXISTS stays_by_place_hour SYNC;

CREATE TABLE IF NOT EXISTS stays_by_place_hour (
    place_hour UInt64 CODEC(Delta, LZ4),
    stay FixedString(42) CODEC(LZ4),
    proof Array(FixedString(12)) CODEC(LZ4),
    settled_for Int64 CODEC(LZ4),
    subject FixedString(16) ALIAS toFixedString(substring(stay, 1, 16), 16),
    start DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(reinterpretAsInt64(substring(stay, 17, 8)), 'UTC'),
    entry Enum8('measured' = 1, 'imputed' = 2) ALIAS reinterpretAsInt8(substring(stay, 25, 1)),
    end DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(reinterpretAsInt64(substring(stay, 26, 8)), 'UTC'),
    exit Enum8('gone' = 0, 'measured' = 1, 'moved' = 2, 'dwell' = 3, 'unended' = 4)
        ALIAS reinterpretAsInt8(substring(stay, 34, 1)),
    scans Array(Tuple(device UInt32, seq UInt64)) ALIAS
        arrayMap(scan -> (reinterpretAsUInt32(substring(scan, 1, 4)), reinterpretAsUInt64(substring(scan, 5, 8))), proof)
)
ENGINE = ReplacingMergeTree(settled_for)
PARTITION BY toMonday(fromUnixTimestamp64Milli(reinterpretAsInt64(substring(stay, 17, 8)), 'UTC'))
PRIMARY KEY place_hour
ORDER BY (place_hour, substring(stay, 1, 25))
SETTINGS index_granularity = 20, min_bytes_for_wide_part = 1000000000000, min_rows_for_wide_part = 1000000000000,
    merge_selector_base = 10, auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1,
    min_age_to_force_merge_seconds = 300, min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1, fsync_part_directory = 1;

ALTER TABLE settled DROP PARTITION ID 'all';
