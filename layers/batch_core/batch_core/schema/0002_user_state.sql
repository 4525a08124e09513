-- What is known about users whose last attempt did not end well; the others need no row.
CREATE TABLE batch_user (
  user_id  VARCHAR(255)      CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  failures SMALLINT UNSIGNED NOT NULL,  -- in a row; 0 once the user has recovered
  error    VARCHAR(100)      NOT NULL,  -- the class of the last one
  version  BIGINT UNSIGNED   NOT NULL   -- of the run that says so
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- What the next run needs to know about the last: how long users took, whether the API failed for
-- everyone, and who was held back at listing.
ALTER TABLE batch_run
  ADD COLUMN code         VARCHAR(64)  NULL AFTER owner,
  ADD COLUMN called       INT UNSIGNED NULL,  -- users whose calls were made
  ADD COLUMN api_ms       BIGINT UNSIGNED NULL,  -- that their groups took, all together
  ADD COLUMN stopped      INT UNSIGNED NULL,  -- users not asked because the API failed
  ADD COLUMN backing_off  INT UNSIGNED NULL,
  ADD COLUMN quarantined  INT UNSIGNED NULL,
  ADD COLUMN carried_over INT UNSIGNED NULL,
  ADD COLUMN next_user    VARCHAR(320) NULL,  -- the first who was carried over, as JSON
  ADD KEY opened_at (opened_at);

-- Where the next run begins, as JSON; NULL at the first user.
ALTER TABLE batch_lease ADD COLUMN next_user VARCHAR(320) NULL;
