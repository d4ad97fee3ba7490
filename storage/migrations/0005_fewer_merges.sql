-- How often the engine merges parts. By default it joins about five at a time, so that a row is written some six
-- times before its part is full; that was half of all processor time under full load. The log and the evidence are
-- read rarely, by key, and bear many parts; a trace reads every part of a read model, so there it is fewer.
ALTER TABLE log MODIFY SETTING merge_selector_base = 20;
ALTER TABLE refused MODIFY SETTING merge_selector_base = 20;
ALTER TABLE evidence MODIFY SETTING merge_selector_base = 20;
ALTER TABLE scans_by_subject MODIFY SETTING merge_selector_base = 10;
ALTER TABLE scans_by_place_hour MODIFY SETTING merge_selector_base = 10;
