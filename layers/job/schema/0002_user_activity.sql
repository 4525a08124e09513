-- The latest activity of each user, as the API last told it; times in UTC.
CREATE TABLE user_activity (
  user_id     BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  action      VARCHAR(64)     NOT NULL,
  occurred_at DATETIME(3)     NOT NULL,
  score       DECIMAL(8, 2)   NOT NULL,
  country     CHAR(2)         NOT NULL,
  devices     JSON            NOT NULL,
  note        VARCHAR(500)    NOT NULL,
  etag        VARCHAR(128)    NULL,
  version     BIGINT          NOT NULL,
  -- A user who is deleted while the batch runs takes the row along, and cannot come back by it.
  CONSTRAINT user_activity_user FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
