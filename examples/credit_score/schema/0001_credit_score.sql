CREATE TABLE customer (
  customer_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  customer_no VARCHAR(32) NOT NULL,
  credential VARCHAR(128) NOT NULL,
  closed_at DATETIME NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE credit_score (
  user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  score INT NOT NULL,
  band CHAR(1) NOT NULL,
  reasons JSON NOT NULL,
  version BIGINT NOT NULL,
  CONSTRAINT credit_score_customer FOREIGN KEY (user_id)
    REFERENCES customer (customer_id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
