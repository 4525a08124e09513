"""Every limit the batch lives under, once, with its source and the headroom taken.

AWS numbers are the documented quotas; ours are the tighter ones that the code enforces.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024

# --- Step Functions -------------------------------------------------------------------------
# Hard quota for the input or output of a task, state or execution, Express included.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
STATE_BYTES_QUOTA: Final = 256 * KIB
# What one state of ours may carry. Input and context travel together and some overflows cannot be
# caught, so the design keeps an eightfold distance from the quota.
STATE_BYTES: Final = 32 * KIB
# A claim shares its state with the run, the tally and its own envelope.
CLAIM_INLINE_BYTES: Final = 4 * KIB
CLAIM_COMPRESSED_BYTES: Final = 30_000
# Express executions end after five minutes; the machine stops itself earlier.
EXPRESS_SECONDS_QUOTA: Final = 300
RUN_SECONDS: Final = 285
# Of these, what Finish Run may need to see the last rows arrive; groups must have ended before.
FINISH_SECONDS: Final = 60
# What listing, cold starts and putting the last rows on the stream take of the groups' time.
LISTING_SECONDS: Final = 25
# "Up to 40 concurrent iterations" of an inline Map; above it is best effort.
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-map-process-modes.html
MAP_CONCURRENCY_QUOTA: Final = 40
# Each iteration of a Map leaves a result of at most this many bytes ...
ITERATION_RESULT_BYTES: Final = 400
# ... and a Map's raw result list is assumed to count as state, so its length is bounded.
GROUPS_PER_CHUNK: Final = 400
CHUNKS_PER_RUN: Final = 100

# --- Listing --------------------------------------------------------------------------------
# One user as listed, in JSON. A chunk's slices share one stride, so one huge user would inflate
# its whole chunk.
USER_BYTES: Final = 4 * KIB

# Marks outlive the longest quarantine, QuarantineHours' maximum, whatever the ledger keeps of runs.
MARK_DAYS: Final = 31
# The longest `user_id` that the ledger can remember, the column's width.
USER_ID_CHARS: Final = 255
# What an API that is down may be asked in one run: so many calls, or this share of the users.
CALLS_IN_VAIN: Final = 100
SHARE_IN_VAIN: Final = 0.02

# --- Kinesis --------------------------------------------------------------------------------
# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
PUT_RECORDS_QUOTA: Final = 500
PUT_RECORDS_BYTES_QUOTA: Final = 5 * KIB * KIB
# A PUT payload unit is 25 KB; a record cut at it never pays for a unit it half fills.
# https://aws.amazon.com/kinesis/data-streams/pricing/
PUT_UNIT_BYTES: Final = 25 * KIB
# A record's JSON before it is packed. Rows of one text each would pack a thousandfold, and a batch
# of 100 records must fit into the writer's memory.
RECORD_JSON_BYTES: Final = 256 * KIB

# --- RDS Proxy and MySQL --------------------------------------------------------------------
# A statement longer than 16 KB pins the client's session to one database connection.
# https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy-pinning.html
STATEMENT_BYTES: Final = 16_000
# Rows gathered into one transaction: wide enough to amortise the commit, short enough to hold
# locks for well under a second.
TRANSACTION_ROWS: Final = 1_000
# One row in SQL text; a larger one is rejected, since it could not stay below a statement.
ROW_BYTES: Final = 15_000
# The longest number that a DECIMAL holds, and how many of its digits may stand behind the point; of
# a literal with more of those MySQL drops the rest.
# https://dev.mysql.com/doc/refman/8.4/en/precision-math-decimal-characteristics.html
DECIMAL_DIGITS: Final = 65
DECIMAL_PLACES: Final = 30

# --- The outside API ------------------------------------------------------------------------
API_BODY_BYTES: Final = 256 * KIB
# What Call API gathers of a group's answers, as JSON, before it puts them into S3, and what Process
# Users therefore holds of them at once. A body of control characters is six times as long in JSON.
ANSWERS_PART_BYTES: Final = 4 * KIB * KIB
# What a claim holds at most: a part of the answers, and the marks of a group of 1,000.
CLAIM_BYTES: Final = 8 * KIB * KIB

# --- What is said of errors -----------------------------------------------------------------
# The text of one user's error. A group of 1,000 who are all refused stays below a record's quota,
# and a text that says more than this is a dump.
ERROR_TEXT_BYTES: Final = 200
# Why a run failed, which a state and the ledger carry.
REASON_BYTES: Final = 1_000

# --- Whose fault it is ----------------------------------------------------------------------
# What fails for so many of the users asked is the fault of no single user ...
NEARLY_EVERYONE: Final = 0.9
# ... if at least so many were asked: of fewer it cannot be told.
JUDGED_FROM: Final = 10
