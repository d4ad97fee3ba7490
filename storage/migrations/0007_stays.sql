-- "Who stayed here around then?" Settled stays: what the walk of stays gave for all scans received by a mark, so that a
-- trace need not walk the scans of everybody who may have been met (docs/adr/0020).
--
-- ORDER BY: place and hour of the start in one UInt64, as in scans_by_place_hour. A stay that outlasts its place's dwell
--   stands there again a dwell later, and so on: whoever asks for the hours from a dwell before a span up to its end
--   finds every stay that touches the span, and hardly any stay is there twice. Place, subject, start and how the entry
--   is known name a stay.
-- Versions: a stay that later scans changed is written again with a later `settled`; one that is no more, with exit
--   `gone`. Readers take the latest row of a stay, or the engine may have merged the others away already.
-- end: where an `unended` stay's limit is; it ends there by dwell, or is open still when the question's moment is before.
-- scans: (device, seq) of the scans that prove it, as the walk lists them.
-- Small granules, and parts in one file each: a question reads a few rows each at a hundred places and hours. Granules of
--   32 rows instead of 64 halve what is read, and cost a third more to lay down; one file instead of twelve saves a third
--   of the time.
CREATE TABLE IF NOT EXISTS stays_by_place_hour (
    place_hour UInt64 CODEC(Delta, LZ4),
    subject FixedString(16) CODEC(LZ4),
    start DateTime64(3, 'UTC') CODEC(LZ4),
    end DateTime64(3, 'UTC') CODEC(LZ4),
    entry Enum8('measured' = 1, 'imputed' = 2) CODEC(LZ4),
    exit Enum8('gone' = 0, 'measured' = 1, 'moved' = 2, 'dwell' = 3, 'unended' = 4) CODEC(LZ4),
    scans Array(Tuple(device UInt32, seq UInt64)) CODEC(LZ4),
    settled Int64 CODEC(LZ4)
)
ENGINE = ReplacingMergeTree(settled)
PARTITION BY toMonday(start)
PRIMARY KEY place_hour
ORDER BY (place_hour, subject, start, entry)
SETTINGS index_granularity = 32, min_bytes_for_wide_part = 1000000000000, min_rows_for_wide_part = 1000000000000,
    merge_selector_base = 10, auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1,
    min_age_to_force_merge_seconds = 300, min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1, fsync_part_directory = 1;

-- Up to which `received` the stays are settled, with the registries as of that moment; the newest row of a name counts.
-- `rows`: how many deliveries the log had by then. What happened before `kept_from` is left out. `unplaced`: numbers of
-- places that scans name and nobody registered.
CREATE TABLE IF NOT EXISTS settled (
    name String,
    received Int64,
    rows UInt64,
    kept_from Int64,
    unplaced Array(UInt32)
)
ENGINE = ReplacingMergeTree(received)
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- "Where was this subject?" again, in smaller granules and parts of one file each: a trace reads some dozens of rows of
-- each of few people, and a granule of 1,024 is the scans of a dozen others. The engine cannot change granules in place,
-- so the projector derives the table anew from the log, as it would after a loss.
-- received_span: "whose scans came in since?" passes over parts that were full before.
DROP TABLE IF EXISTS scans_by_subject SYNC;

CREATE TABLE IF NOT EXISTS scans_by_subject (
    subject FixedString(16) CODEC(LZ4),
    at DateTime64(3, 'UTC') CODEC(T64, LZ4),
    device UInt32 CODEC(T64, LZ4),
    seq UInt64 CODEC(T64, LZ4),
    key UInt16 CODEC(LZ4),
    place UInt32 CODEC(T64, LZ4),
    kind Enum8('in' = 1, 'out' = 2, 'pass' = 3) CODEC(T64, LZ4),
    received DateTime64(3, 'UTC') CODEC(T64, LZ4),
    INDEX received_span received TYPE minmax GRANULARITY 8
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(at)
PRIMARY KEY (subject, at)
ORDER BY (subject, at, device, seq)
SETTINGS index_granularity = 128, non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1000000000000,
    min_rows_for_wide_part = 1000000000000, merge_selector_base = 10, auto_statistics_types = '',
    ratio_of_defaults_for_sparse_serialization = 1, min_age_to_force_merge_seconds = 300,
    min_age_to_force_merge_on_partition_only = 1, fsync_after_insert = 1, fsync_part_directory = 1;

ALTER TABLE progress DROP PARTITION ID 'all';

-- A week to which nothing was added for five minutes is merged into one part, here and above: a question costs as much
-- for every part as for all that it finds in them.
ALTER TABLE scans_by_place_hour
    MODIFY SETTING min_age_to_force_merge_seconds = 300, min_age_to_force_merge_on_partition_only = 1;
