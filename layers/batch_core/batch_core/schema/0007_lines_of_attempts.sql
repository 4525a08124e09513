-- A group may be tried more than once: under another lease, or by a retry of Process Users. The
-- lines of each attempt lie apart, so that those of one alone are counted.
ALTER TABLE batch_record
  ADD COLUMN fence   BIGINT UNSIGNED   NOT NULL DEFAULT 0 AFTER run_id,
  ADD COLUMN attempt INT UNSIGNED      NOT NULL DEFAULT 0 AFTER grp,
  ADD COLUMN kept    SMALLINT UNSIGNED NOT NULL DEFAULT 0 AFTER `stored`,
  DROP PRIMARY KEY,
  ADD PRIMARY KEY (run_id, fence, chunk, grp, attempt, part);

-- Rows that were not written since a newer run has the say; counted as unchanged, too.
ALTER TABLE batch_run ADD COLUMN kept INT UNSIGNED NULL AFTER `stored`;
