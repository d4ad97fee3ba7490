CREATE TABLE IF NOT EXISTS migrations_local ON CLUSTER country (name String, applied DateTime64(3, 'UTC') DEFAULT now64(3))
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY name SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS migrations ON CLUSTER country AS migrations_local
ENGINE = Distributed('country', 'truyvet', 'migrations_local', 0);

CREATE TABLE IF NOT EXISTS log_local ON CLUSTER country (
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
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMMDD(received)
ORDER BY (device, seq)
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS log ON CLUSTER country AS log_local
ENGINE = Distributed('country', 'truyvet', 'log_local', cityHash64(device));

CREATE TABLE IF NOT EXISTS refused_local ON CLUSTER country (
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
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMMDD(received)
ORDER BY (device, seq)
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS refused ON CLUSTER country AS refused_local
ENGINE = Distributed('country', 'truyvet', 'refused_local', cityHash64(device));

CREATE TABLE IF NOT EXISTS evidence_local ON CLUSTER country (
    device UInt32,
    key UInt16,
    seq_min UInt64,
    seq_max UInt64,
    received DateTime64(3, 'UTC'),
    entry String,
    sealed String CODEC(NONE)
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMMDD(received)
ORDER BY (device, seq_min)
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1,
    index_granularity = 128;

CREATE TABLE IF NOT EXISTS evidence ON CLUSTER country AS evidence_local
ENGINE = Distributed('country', 'truyvet', 'evidence_local', cityHash64(device));

CREATE TABLE IF NOT EXISTS poison_local ON CLUSTER country (
    entry String,
    received DateTime64(3, 'UTC'),
    reason String,
    payload String
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(received)
ORDER BY entry
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS poison ON CLUSTER country AS poison_local
ENGINE = Distributed('country', 'truyvet', 'poison_local', 0);

CREATE TABLE IF NOT EXISTS scans_by_subject_local ON CLUSTER country (
    subject FixedString(16) CODEC(ZSTD(1)),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    device UInt32 CODEC(ZSTD(1)),
    seq UInt64 CODEC(ZSTD(1)),
    key UInt16 CODEC(ZSTD(1)),
    place UInt32 CODEC(ZSTD(1)),
    kind Enum8('in' = 1, 'out' = 2, 'pass' = 3) CODEC(ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toMonday(at)
ORDER BY (subject, at, device, seq)
SETTINGS index_granularity = 1024, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000,
    fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS scans_by_subject ON CLUSTER country AS scans_by_subject_local
ENGINE = Distributed('country', 'truyvet', 'scans_by_subject_local', cityHash64(subject));

CREATE TABLE IF NOT EXISTS scans_by_place_hour_local ON CLUSTER country (
    place_hour UInt64 CODEC(Delta, ZSTD(1)),
    subject FixedString(16) CODEC(ZSTD(1)),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    device UInt32 CODEC(ZSTD(1)),
    seq UInt64 CODEC(ZSTD(1)),
    key UInt16 CODEC(ZSTD(1)),
    kind Enum8('in' = 1, 'out' = 2, 'pass' = 3) CODEC(ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toMonday(at)
ORDER BY (place_hour, subject, at, device, seq)
SETTINGS index_granularity = 256, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000,
    fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS scans_by_place_hour ON CLUSTER country AS scans_by_place_hour_local
ENGINE = Distributed('country', 'truyvet', 'scans_by_place_hour_local', cityHash64(place_hour));

CREATE TABLE IF NOT EXISTS progress_local ON CLUSTER country (
    name String,
    received Int64,
    rows UInt64
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', received)
ORDER BY name
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS progress ON CLUSTER country AS progress_local
ENGINE = Distributed('country', 'truyvet', 'progress_local', 0);

CREATE TABLE IF NOT EXISTS traces_local ON CLUSTER country (
    id String,
    asked_at DateTime64(3, 'UTC'),
    actor String,
    fingerprint FixedString(32),
    question String CODEC(ZSTD(3)),
    answer String CODEC(ZSTD(3))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (asked_at, id)
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS traces ON CLUSTER country AS traces_local
ENGINE = Distributed('country', 'truyvet', 'traces_local', 0);

CREATE TABLE IF NOT EXISTS audit_local ON CLUSTER country (
    at DateTime64(3, 'UTC'),
    actor String,
    token String,
    role Enum8('admin' = 1, 'analyst' = 2, 'officer' = 3, 'viewer' = 4),
    action LowCardinality(String),
    object String,
    purpose String
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(at)
ORDER BY at
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS audit ON CLUSTER country AS audit_local
ENGINE = Distributed('country', 'truyvet', 'audit_local', 0);

CREATE TABLE IF NOT EXISTS control_local ON CLUSTER country (
    entry String,
    at Int64,
    event String CODEC(ZSTD(3))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (at, entry)
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS control ON CLUSTER country AS control_local
ENGINE = Distributed('country', 'truyvet', 'control_local', 0);

CREATE TABLE IF NOT EXISTS retired_local ON CLUSTER country (
    device UInt32,
    upto UInt64,
    received DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY device
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS retired ON CLUSTER country AS retired_local
ENGINE = Distributed('country', 'truyvet', 'retired_local', cityHash64(device));

ALTER TABLE log_local ON CLUSTER country MODIFY SETTING merge_selector_base = 20;

ALTER TABLE refused_local ON CLUSTER country MODIFY SETTING merge_selector_base = 20;

ALTER TABLE evidence_local ON CLUSTER country MODIFY SETTING merge_selector_base = 20;

ALTER TABLE scans_by_subject_local ON CLUSTER country MODIFY SETTING merge_selector_base = 10;

ALTER TABLE scans_by_place_hour_local ON CLUSTER country MODIFY SETTING merge_selector_base = 10;

ALTER TABLE log_local ON CLUSTER country MODIFY COLUMN device CODEC(LZ4),
    MODIFY COLUMN key CODEC(LZ4),
    MODIFY COLUMN seq CODEC(Delta, LZ4),
    MODIFY COLUMN at CODEC(T64, LZ4),
    MODIFY COLUMN received CODEC(LZ4),
    MODIFY COLUMN place CODEC(LZ4),
    MODIFY COLUMN subject CODEC(LZ4),
    MODIFY COLUMN kind CODEC(T64, LZ4),
    MODIFY COLUMN how CODEC(LZ4);

ALTER TABLE scans_by_subject_local ON CLUSTER country MODIFY COLUMN subject CODEC(LZ4),
    MODIFY COLUMN at CODEC(T64, LZ4),
    MODIFY COLUMN device CODEC(T64, LZ4),
    MODIFY COLUMN seq CODEC(T64, LZ4),
    MODIFY COLUMN key CODEC(LZ4),
    MODIFY COLUMN place CODEC(T64, LZ4),
    MODIFY COLUMN kind CODEC(T64, LZ4),
    MODIFY COLUMN received CODEC(T64, LZ4);

ALTER TABLE scans_by_place_hour_local ON CLUSTER country MODIFY COLUMN place_hour CODEC(LZ4),
    MODIFY COLUMN subject CODEC(LZ4),
    MODIFY COLUMN at CODEC(T64, LZ4),
    MODIFY COLUMN device CODEC(T64, LZ4),
    MODIFY COLUMN seq CODEC(T64, LZ4),
    MODIFY COLUMN key CODEC(LZ4),
    MODIFY COLUMN kind CODEC(T64, LZ4),
    MODIFY COLUMN received CODEC(T64, LZ4);

ALTER TABLE log_local ON CLUSTER country MODIFY SETTING auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1;

ALTER TABLE scans_by_subject_local ON CLUSTER country MODIFY SETTING auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1;

ALTER TABLE scans_by_place_hour_local ON CLUSTER country MODIFY SETTING auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1;

CREATE TABLE IF NOT EXISTS stays_by_place_hour_local ON CLUSTER country (
    place_hour UInt64 CODEC(Delta, LZ4),
    subject FixedString(16) CODEC(LZ4),
    start DateTime64(3, 'UTC') CODEC(LZ4),
    end DateTime64(3, 'UTC') CODEC(LZ4),
    entry Enum8('measured' = 1, 'imputed' = 2) CODEC(LZ4),
    exit Enum8('gone' = 0, 'measured' = 1, 'moved' = 2, 'dwell' = 3, 'unended' = 4) CODEC(LZ4),
    scans Array(Tuple(device UInt32, seq UInt64)) CODEC(LZ4),
    settled Int64 CODEC(LZ4)
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', settled)
PARTITION BY toMonday(start)
PRIMARY KEY place_hour
ORDER BY (place_hour, subject, start, entry)
SETTINGS replicated_deduplication_window = 0, index_granularity = 32, min_bytes_for_wide_part = 1000000000000, min_rows_for_wide_part = 1000000000000,
    merge_selector_base = 10, auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1,
    min_age_to_force_merge_seconds = 300, min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS stays_by_place_hour ON CLUSTER country AS stays_by_place_hour_local
ENGINE = Distributed('country', 'truyvet', 'stays_by_place_hour_local', cityHash64(place_hour));

CREATE TABLE IF NOT EXISTS settled_local ON CLUSTER country (
    name String,
    received Int64,
    rows UInt64,
    kept_from Int64,
    unplaced Array(UInt32)
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', received)
ORDER BY name
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS settled ON CLUSTER country AS settled_local
ENGINE = Distributed('country', 'truyvet', 'settled_local', 0);

DROP TABLE IF EXISTS scans_by_subject ON CLUSTER country SYNC;

DROP TABLE IF EXISTS scans_by_subject_local ON CLUSTER country SYNC;

CREATE TABLE IF NOT EXISTS scans_by_subject_local ON CLUSTER country (
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toMonday(at)
PRIMARY KEY (subject, at)
ORDER BY (subject, at, device, seq)
SETTINGS index_granularity = 128, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000, min_bytes_for_wide_part = 1000000000000,
    min_rows_for_wide_part = 1000000000000, merge_selector_base = 10, auto_statistics_types = '',
    ratio_of_defaults_for_sparse_serialization = 1, min_age_to_force_merge_seconds = 300,
    min_age_to_force_merge_on_partition_only = 1, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS scans_by_subject ON CLUSTER country AS scans_by_subject_local
ENGINE = Distributed('country', 'truyvet', 'scans_by_subject_local', cityHash64(subject));

ALTER TABLE progress_local ON CLUSTER country DROP PARTITION ID 'all';

ALTER TABLE scans_by_place_hour_local ON CLUSTER country MODIFY SETTING min_age_to_force_merge_seconds = 300, min_age_to_force_merge_on_partition_only = 1;

CREATE TABLE IF NOT EXISTS audit_chain_local ON CLUSTER country (
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
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(at)
ORDER BY number
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS audit_chain ON CLUSTER country AS audit_chain_local
ENGINE = Distributed('country', 'truyvet', 'audit_chain_local', 0);

CREATE TABLE IF NOT EXISTS trace_subjects_local ON CLUSTER country (
    subject FixedString(16) CODEC(ZSTD(1)),
    trace String CODEC(ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (subject, trace)
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trace_subjects ON CLUSTER country AS trace_subjects_local
ENGINE = Distributed('country', 'truyvet', 'trace_subjects_local', 0);

CREATE TABLE IF NOT EXISTS people_states_local ON CLUSTER country (
    subject FixedString(16),
    at DateTime64(3, 'UTC'),
    state Enum8('f0' = 1, 'recovered' = 2, 'f1' = 3, 'f2' = 4, 'released' = 5),
    source_kind Enum8('case' = 1, 'trace' = 2, 'order' = 3),
    source String,
    until Nullable(DateTime64(3, 'UTC')),
    recorded DateTime64(3, 'UTC'),
    actor String
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', recorded)
ORDER BY (subject, at, state, source_kind, source)
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS people_states ON CLUSTER country AS people_states_local
ENGINE = Distributed('country', 'truyvet', 'people_states_local', 0);

CREATE TABLE IF NOT EXISTS health_records_local ON CLUSTER country (
    subject FixedString(16),
    source String,
    record String,
    kind Enum8('vaccination' = 1, 'test' = 2),
    day Date32,
    product String,
    dose UInt8,
    result Enum8('' = 0, 'negative' = 1, 'positive' = 2, 'inconclusive' = 3),
    withdrawn Bool,
    imported DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', imported)
ORDER BY (subject, source, record)
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS health_records ON CLUSTER country AS health_records_local
ENGINE = Distributed('country', 'truyvet', 'health_records_local', 0);

CREATE TABLE IF NOT EXISTS directory_local ON CLUSTER country (
    subject FixedString(16) CODEC(ZSTD(1)),
    entered UInt64 CODEC(ZSTD(1)),
    sealed String CODEC(NONE)
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', entered)
ORDER BY subject
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS directory ON CLUSTER country AS directory_local
ENGINE = Distributed('country', 'truyvet', 'directory_local', cityHash64(subject));

ALTER TABLE retired_local ON CLUSTER country ADD COLUMN IF NOT EXISTS first UInt64 DEFAULT 1 AFTER device,
    ADD COLUMN IF NOT EXISTS taken Bool DEFAULT false AFTER upto;

ALTER TABLE retired ON CLUSTER country ADD COLUMN IF NOT EXISTS first UInt64 DEFAULT 1 AFTER device,
    ADD COLUMN IF NOT EXISTS taken Bool DEFAULT false AFTER upto;

CREATE TABLE IF NOT EXISTS trace_pieces_local ON CLUSTER country (
    trace String CODEC(ZSTD(1)),
    number UInt32 CODEC(ZSTD(1)),
    piece String CODEC(ZSTD(3))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (trace, number)
SETTINGS replicated_deduplication_window = 0, index_granularity = 1, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trace_pieces ON CLUSTER country AS trace_pieces_local
ENGINE = Distributed('country', 'truyvet', 'trace_pieces_local', 0);

CREATE TABLE IF NOT EXISTS clusters_local ON CLUSTER country (
    number UInt64,
    announcement String CODEC(ZSTD(3))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY number
SETTINGS replicated_deduplication_window = 0, fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS clusters ON CLUSTER country AS clusters_local
ENGINE = Distributed('country', 'truyvet', 'clusters_local', 0);

DROP TABLE IF EXISTS stays_by_place_hour ON CLUSTER country SYNC;

DROP TABLE IF EXISTS stays_by_place_hour_local ON CLUSTER country SYNC;

CREATE TABLE IF NOT EXISTS stays_by_place_hour_local ON CLUSTER country (
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', settled_for)
PARTITION BY toMonday(fromUnixTimestamp64Milli(reinterpretAsInt64(substring(stay, 17, 8)), 'UTC'))
PRIMARY KEY place_hour
ORDER BY (place_hour, substring(stay, 1, 25))
SETTINGS replicated_deduplication_window = 0, index_granularity = 20, min_bytes_for_wide_part = 1000000000000, min_rows_for_wide_part = 1000000000000,
    merge_selector_base = 10, auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1,
    min_age_to_force_merge_seconds = 300, min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1, min_compressed_bytes_to_fsync_after_fetch = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS stays_by_place_hour ON CLUSTER country AS stays_by_place_hour_local
ENGINE = Distributed('country', 'truyvet', 'stays_by_place_hour_local', cityHash64(place_hour));

ALTER TABLE settled_local ON CLUSTER country DROP PARTITION ID 'all';
