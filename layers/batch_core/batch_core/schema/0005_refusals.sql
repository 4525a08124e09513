-- What the job said of a user that it refused, and an index by which old marks are found.
ALTER TABLE batch_user
  ADD COLUMN said VARCHAR(200) NOT NULL DEFAULT '' AFTER error,
  ADD KEY version (version);

-- A text of 255 characters takes 1,532 as JSON, where each may become \u0000.
ALTER TABLE batch_run MODIFY next_user VARCHAR(1600) NULL;
ALTER TABLE batch_lease MODIFY next_user VARCHAR(1600) NULL;
