-- Which seqs of a device were dropped because their time to be kept was over, exactly: runs, where before there was
-- only the highest. A hole between two runs is still a hole, and one wild seq hides no other.
--
-- `first`: a run goes from there to `upto`. Rows from before begin at 1, which is what they said: nothing below is
--   missing.
-- `taken`: these came as scans that were taken, so that a later delivery of one is a repetition and changes nothing.
--   Runs of refused scans, and rows from before, which do not know, are not: those count as come, and no more.
ALTER TABLE retired
    ADD COLUMN IF NOT EXISTS first UInt64 DEFAULT 1 AFTER device,
    ADD COLUMN IF NOT EXISTS taken Bool DEFAULT false AFTER upto;
