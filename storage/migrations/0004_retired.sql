-- Up to which seq a device's scans were dropped because their time to be kept was over: below it nothing is missing.
-- Filled by whoever drops a partition of the log, before it; docs/operations.md says how.
--
-- ORDER BY device: asked with the log and the refusals, by device. No partition: it stays when the others go.
-- `received` is the end of the day that was dropped.
CREATE TABLE IF NOT EXISTS retired (
    device UInt32,
    upto UInt64,
    received DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY device
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
