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
    backlog INTEGER NOT NULL,
    purged_at_ms INTEGER,
    created_at_ms INTEGER NOT NULL,
    modified_at_ms INTEGER NOT NULL,
    UNIQUE (account_id, region, name)
);

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
    PRIMARY KEY (backlog, sequence)
) WITHOUT ROWID;

CREATE INDEX message_by_visibility ON message (backlog, visible_at_ms, sequence);

-- The part that never changes. The body comes last, so that reading the rest skips its pages.
CREATE TABLE message_body (
    sequence INTEGER PRIMARY KEY,
    sent_at_ms INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    body_md5 TEXT NOT NULL,
    sender_id TEXT NOT NULL,
    group_id TEXT,
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
