-- The run's account. One tenant per schema, so no table names the tenant.

-- One row: who may process a slot now, and how often that right was given.
CREATE TABLE batch_lease (
  id         TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  fence      BIGINT UNSIGNED  NOT NULL,
  run_id     VARCHAR(64)      NOT NULL,
  expires_at DATETIME(3)      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

INSERT INTO batch_lease (id, fence, run_id, expires_at) VALUES (1, 0, '', '2000-01-01');

-- One row per run, written by List Users and closed by Finish Run; times in UTC.
CREATE TABLE batch_run (
  run_id      VARCHAR(64)     NOT NULL PRIMARY KEY,
  version     BIGINT UNSIGNED NOT NULL,
  owner       VARCHAR(512)    NOT NULL,
  fence       BIGINT UNSIGNED NOT NULL,
  status      VARCHAR(16)     NOT NULL,
  opened_at   DATETIME(3)     NOT NULL,
  closed_at   DATETIME(3)     NULL,
  listed      INT UNSIGNED    NULL,
  chunks      TEXT            NULL,
  `stored`    INT UNSIGNED    NULL,  -- quoted: MySQL reserves the word, MariaDB does not
  unchanged   INT UNSIGNED    NULL,
  rejected    INT UNSIGNED    NULL,
  retry_later INT UNSIGNED    NULL,
  skipped     INT UNSIGNED    NULL,
  gone        INT UNSIGNED    NULL,
  reason      VARCHAR(2000)   NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row per record that arrived, written in the transaction that stores its rows. A record that
-- is delivered again overwrites its own row, so that sums never count anything twice.
CREATE TABLE batch_record (
  run_id   VARCHAR(64)       NOT NULL,
  chunk    SMALLINT UNSIGNED NOT NULL,
  grp      SMALLINT UNSIGNED NOT NULL,
  part     SMALLINT UNSIGNED NOT NULL,
  `rows`   SMALLINT UNSIGNED NOT NULL,
  `stored` SMALLINT UNSIGNED NOT NULL,
  rejected SMALLINT UNSIGNED NOT NULL,
  gone     SMALLINT UNSIGNED NOT NULL,
  PRIMARY KEY (run_id, chunk, grp, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
