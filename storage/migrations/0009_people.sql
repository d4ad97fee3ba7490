-- What people were declared to be, as events: the state at a moment is their fold (tracing/people/states.py).
--
-- ORDER BY (subject, at, state, source): an event's identity. The same event recorded again replaces itself, and what one
--   person was is one range of the key. No partitions: a province's outbreak is some hundred thousand rows.
CREATE TABLE IF NOT EXISTS people_states (
    subject FixedString(16),
    at DateTime64(3, 'UTC'),
    state Enum8('f0' = 1, 'recovered' = 2, 'f1' = 3, 'f2' = 4, 'released' = 5),
    source_kind Enum8('case' = 1, 'trace' = 2, 'order' = 3),
    source String,
    until Nullable(DateTime64(3, 'UTC')),
    recorded DateTime64(3, 'UTC'),
    actor String
)
ENGINE = ReplacingMergeTree(recorded)
ORDER BY (subject, at, state, source_kind, source)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Vaccinations and tests as other registers tell them. A record is named by its register and its number there; imported
-- again it replaces itself, and a withdrawn one stays as a row that says so.
CREATE TABLE IF NOT EXISTS health_records (
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
ENGINE = ReplacingMergeTree(imported)
ORDER BY (subject, source, record)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
