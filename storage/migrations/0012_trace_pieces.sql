-- Answers too long for one value: read back a piece at a time, so that no reader holds one whole, and neither does the
-- engine, which cannot read a part of a value. The row in `traces` then has an empty answer (storage/saved_traces.py).
--
-- ORDER BY (trace, number): read piece after piece, or from any of them on. A granule of one row: a read takes no other.
-- Saved twice, a piece lies here once.
CREATE TABLE IF NOT EXISTS trace_pieces (
    trace String CODEC(ZSTD(1)),
    number UInt32 CODEC(ZSTD(1)),
    piece String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (trace, number)
SETTINGS index_granularity = 1, fsync_after_insert = 1, fsync_part_directory = 1;
