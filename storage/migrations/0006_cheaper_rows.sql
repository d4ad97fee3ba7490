-- What a row costs to lay down and to merge, in the engine's defaults, that nobody asks for. Measured in docs/adr/0018.
--
-- Codecs: ZSTD took half of what an insert and a merge cost and gained little, since a counter or a time differs from its
--   neighbours in a small part at random. T64 keeps as many bits as the numbers of a block need, which is smaller and
--   several times as fast, both ways; LZ4 catches what is repeated, and gives up on pseudonyms at once. In the log's order
--   a device's counters go up by one: their differences repeat.
ALTER TABLE log
    MODIFY COLUMN device CODEC(LZ4),
    MODIFY COLUMN key CODEC(LZ4),
    MODIFY COLUMN seq CODEC(Delta, LZ4),
    MODIFY COLUMN at CODEC(T64, LZ4),
    MODIFY COLUMN received CODEC(LZ4),
    MODIFY COLUMN place CODEC(LZ4),
    MODIFY COLUMN subject CODEC(LZ4),
    MODIFY COLUMN kind CODEC(T64, LZ4),
    MODIFY COLUMN how CODEC(LZ4);
ALTER TABLE scans_by_subject
    MODIFY COLUMN subject CODEC(LZ4),
    MODIFY COLUMN at CODEC(T64, LZ4),
    MODIFY COLUMN device CODEC(T64, LZ4),
    MODIFY COLUMN seq CODEC(T64, LZ4),
    MODIFY COLUMN key CODEC(LZ4),
    MODIFY COLUMN place CODEC(T64, LZ4),
    MODIFY COLUMN kind CODEC(T64, LZ4),
    MODIFY COLUMN received CODEC(T64, LZ4);
ALTER TABLE scans_by_place_hour
    MODIFY COLUMN place_hour CODEC(LZ4),
    MODIFY COLUMN subject CODEC(LZ4),
    MODIFY COLUMN at CODEC(T64, LZ4),
    MODIFY COLUMN device CODEC(T64, LZ4),
    MODIFY COLUMN seq CODEC(T64, LZ4),
    MODIFY COLUMN key CODEC(LZ4),
    MODIFY COLUMN kind CODEC(T64, LZ4),
    MODIFY COLUMN received CODEC(T64, LZ4);

-- Merges would count distinct values of every column for the planner of queries, and defaults, to leave them out. A
--   question goes by the key here, and no column is mostly default.
ALTER TABLE log MODIFY SETTING auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1;
ALTER TABLE scans_by_subject MODIFY SETTING auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1;
ALTER TABLE scans_by_place_hour MODIFY SETTING auto_statistics_types = '', ratio_of_defaults_for_sparse_serialization = 1;
