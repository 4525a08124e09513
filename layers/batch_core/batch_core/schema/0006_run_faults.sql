-- What was wrong with a run as a whole, if anything was; its marks do not count then.
ALTER TABLE batch_run
  ADD COLUMN fault VARCHAR(32) NULL,
  ADD KEY version (version);
