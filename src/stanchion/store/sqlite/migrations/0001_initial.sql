-- Values that the store keeps about itself: the latest queue time it has seen, and the sequence
-- number up to which numbers may have been given out.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES ('latest_ms', 0), ('sequence_reserved', 0);

CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE access_key (
    access_key_id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    account_id TEXT NOT NULL,
    is_root INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX access_key_root ON access_key (account_id) WHERE is_root;

-- AUTOINCREMENT: a number that was a queue's once is never another's.
CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    attributes BLOB NOT NULL,
    tags BLOB NOT NULL,
    retention_ms INTEGER NOT NULL,
    is_fifo INTEGER NOT NULL,
    delay_ms INTEGER NOT NULL,
    dead_letter_account_id TEXT,
    dead_letter_region TEXT,
    dead_letter_name TEXT,
    receive_count_max INTEGER NOT NULL,
    backlog INTEGER NOT NULL,
    purged_at_ms INTEGER,
    created_at_ms INTEGER NOT NULL,
    modified_at_ms INTEGER NOT NULL,
    UNIQUE (account_id, region, name)
);

CREATE INDEX queue_by_dead_letter_queue
ON queue (dead_letter_account_id, dead_letter_region, dead_letter_name, name)
WHERE dead_letter_name IS NOT NULL;

CREATE TABLE deleted_queue (
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    deleted_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, region, name)
) WITHOUT ROWID;

CREATE INDEX deleted_queue_by_age ON deleted_queue (deleted_at_ms);

-- A queue's messages live under its backlog. Purging gives the queue a new one, and the old one
-- loses its queue: that takes no time, and the rows go in the background.
CREATE TABLE backlog (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_id INTEGER,
    messages INTEGER NOT NULL,
    -- No message of this backlog expires before this instant; null when there is none to expire.
    check_at_ms INTEGER
);

CREATE INDEX backlog_doomed ON backlog (id) WHERE queue_id IS NULL;
CREATE INDEX backlog_by_check ON backlog (check_at_ms) WHERE check_at_ms IS NOT NULL;

-- The part of a message that a lease rewrites, kept narrow.
CREATE TABLE message (
    backlog INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    visible_at_ms INTEGER NOT NULL,
    receive_count INTEGER NOT NULL DEFAULT 0,
    first_received_at_ms INTEGER,
    -- 0: ordinary. 1: exhausted, for the dead-letter queue. From 2 on: one for each noisy tenant.
    lane INTEGER NOT NULL DEFAULT 0,
    -- The row of fifo_group; null on standard queues.
    group_key INTEGER,
    -- The queue that an exhausted message was moved from, as JSON: account, region, name.
    dead_letter_source TEXT,
    PRIMARY KEY (backlog, sequence)
) WITHOUT ROWID;

CREATE INDEX message_by_visibility ON message (backlog, lane, visible_at_ms, sequence);
CREATE INDEX message_by_group ON message (backlog, group_key, sequence)
WHERE group_key IS NOT NULL;
CREATE INDEX message_exhausted ON message (visible_at_ms, backlog, sequence) WHERE lane = 1;

-- The part that never changes. The body comes last, so that reading the rest skips its pages.
CREATE TABLE message_body (
    sequence INTEGER PRIMARY KEY,
    sent_at_ms INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    body_md5 TEXT NOT NULL,
    sender_id TEXT NOT NULL,
    group_id TEXT,
    deduplication_id TEXT,
    trace_header TEXT,
    attributes BLOB NOT NULL,
    body BLOB NOT NULL
);

-- How many messages come into view in each second: bucket b holds those with visible_at_ms in
-- (1000 (b - 1), 1000 b]. Only what lies in the future counts; past buckets are dropped.
CREATE TABLE tally (
    backlog INTEGER NOT NULL,
    received INTEGER NOT NULL,
    bucket_s INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (backlog, received, bucket_s)
) WITHOUT ROWID;

CREATE INDEX tally_by_bucket ON tally (bucket_s);

-- A group of a FIFO queue that has messages. Fresh: its first message was never received, and
-- ready_at_ms is when that was sent; the queue's delay is added when groups are looked for. Returned:
-- ready_at_ms is when the last of its messages in flight comes, or came, back into view.
CREATE TABLE fifo_group (
    key INTEGER PRIMARY KEY,
    backlog INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    is_returned INTEGER NOT NULL,
    ready_at_ms INTEGER NOT NULL,
    UNIQUE (backlog, group_id)
);

CREATE INDEX fifo_group_by_ready ON fifo_group (backlog, is_returned, ready_at_ms, key);

-- What was accepted in the last minutes, by queue: it outlives messages, backlogs and restarts.
-- The sequence number is that of the message, so the oldest entries are the first ones.
CREATE TABLE deduplication (
    sequence INTEGER PRIMARY KEY,
    queue_id INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    deduplication_id TEXT NOT NULL,
    accepted_at_ms INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    UNIQUE (queue_id, group_id, deduplication_id)
);

CREATE TABLE receive_attempt (
    number INTEGER PRIMARY KEY,
    queue_id INTEGER NOT NULL,
    attempt_id TEXT NOT NULL,
    attempted_at_ms INTEGER NOT NULL,
    -- As JSON: when the leases end, and each lease.
    leases TEXT NOT NULL,
    UNIQUE (queue_id, attempt_id)
);

CREATE TABLE noisy_tenant (
    backlog INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    last_sent_at_ms INTEGER NOT NULL,
    PRIMARY KEY (backlog, lane),
    UNIQUE (backlog, group_id)
) WITHOUT ROWID;

CREATE TABLE move_task (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    destination TEXT,
    messages_per_s INTEGER,
    status TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    -- The instant of the next step.
    due_at_ms INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    to_move INTEGER NOT NULL,
    failure TEXT
);

CREATE INDEX move_task_by_source ON move_task (account_id, region, name, number);
CREATE INDEX move_task_active ON move_task (account_id, number)
WHERE status IN ('RUNNING', 'CANCELLING');
CREATE INDEX move_task_by_due ON move_task (due_at_ms) WHERE status IN ('RUNNING', 'CANCELLING');
