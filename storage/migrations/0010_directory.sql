-- The directory of names: sealed records, each under its person's own key, which lies elsewhere (storage/person_keys.py).
-- Without that key a row is noise, here and in every backup. docs/adr/0027 argues it.
--
-- ORDER BY subject: records are opened person by person. Entered again, the later one counts; `entered` in Unix ms.
CREATE TABLE IF NOT EXISTS directory (
    subject FixedString(16) CODEC(ZSTD(1)),
    entered UInt64 CODEC(ZSTD(1)),
    sealed String CODEC(NONE)
)
ENGINE = ReplacingMergeTree(entered)
ORDER BY subject
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
