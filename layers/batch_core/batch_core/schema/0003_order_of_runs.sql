-- The version of the last lease: the next one has a higher one, whatever its slot. It begins above
-- that of every run that is known, so that a run of the future that an earlier release let in is
-- overtaken by the next one.
ALTER TABLE batch_lease ADD COLUMN version BIGINT UNSIGNED NOT NULL DEFAULT 0 AFTER fence;

UPDATE batch_lease SET version = (SELECT COALESCE(MAX(version), 0) FROM batch_run);

-- When the execution began: its name alone does not tell it from another one. UTC.
ALTER TABLE batch_run ADD COLUMN started_at DATETIME(3) NULL AFTER owner;
