-- The tables of SQLite's store, laid out for many writers at once: no row that every sender of a
-- queue has to write, and a narrow row for what a lease changes. Text sorts by bytes everywhere.

-- The latest queue time that was written down, and the numbers of edits of records.
CREATE TABLE meta (
    name text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 50);

INSERT INTO meta (name, value) VALUES ('latest_ms', 0), ('edits', 0), ('latest_edit', 0);

-- Identity: a number that was a queue's once is never another's.
CREATE TABLE queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id text COLLATE "C" NOT NULL,
    region text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    attributes bytea NOT NULL,
    tags bytea NOT NULL,
    retention_ms bigint NOT NULL,
    is_fifo boolean NOT NULL,
    delay_ms bigint NOT NULL,
    dead_letter_account_id text COLLATE "C",
    dead_letter_region text COLLATE "C",
    dead_letter_name text COLLATE "C",
    receive_count_max integer NOT NULL,
    backlog bigint NOT NULL,
    purged_at_ms bigint,
    created_at_ms bigint NOT NULL,
    modified_at_ms bigint NOT NULL,
    UNIQUE (account_id, region, name)
);

CREATE INDEX queue_by_dead_letter_queue
ON queue (dead_letter_account_id, dead_letter_region, dead_letter_name, name)
WHERE dead_letter_name IS NOT NULL;

CREATE TABLE deleted_queue (
    account_id text COLLATE "C" NOT NULL,
    region text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    deleted_at_ms bigint NOT NULL,
    PRIMARY KEY (account_id, region, name)
);

CREATE INDEX deleted_queue_by_age ON deleted_queue (deleted_at_ms);

-- A queue's messages live under its backlog. Purging gives the queue a new one, and the old one
-- loses its queue: that takes no time, and the rows go in the background. Senders read this table
-- and never write it: how many messages there are is in tally and tally_change.
CREATE TABLE backlog (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue_id bigint,
    -- No message of this backlog expires before this instant; null only when it is doomed.
    check_at_ms bigint,
    -- When it lost its queue; a flush that began before may still put messages here for a while.
    doomed_at_ms bigint,
    -- When to look whether there is something to drop.
    drop_at_ms bigint
);

CREATE INDEX backlog_doomed ON backlog (drop_at_ms, id) WHERE queue_id IS NULL;
CREATE INDEX backlog_by_check ON backlog (check_at_ms) WHERE check_at_ms IS NOT NULL;

-- Numbers of messages. On FIFO queues they are drawn while the rows of the groups are locked, so
-- that inside a group their order is the order of the commits.
CREATE SEQUENCE message_sequence AS bigint;

-- The part of a message that a lease rewrites, kept narrow.
CREATE TABLE message (
    backlog bigint NOT NULL,
    sequence bigint NOT NULL,
    visible_at_ms bigint NOT NULL,
    receive_count integer NOT NULL DEFAULT 0,
    first_received_at_ms bigint,
    -- 0: ordinary. 1: exhausted, for the dead-letter queue. From 2 on: one for each noisy tenant.
    lane integer NOT NULL DEFAULT 0,
    -- The row of fifo_group; null on standard queues.
    group_key bigint,
    -- The queue that an exhausted message was moved from, as JSON: account, region, name.
    dead_letter_source text,
    -- Where a sealed body that was moved comes from, with a MAC; null when it never was elsewhere.
    provenance bytea,
    PRIMARY KEY (backlog, sequence)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.1,
    autovacuum_vacuum_cost_delay = 0
);

-- The only index over what a lease changes.
CREATE INDEX message_by_visibility ON message (backlog, lane, visible_at_ms, sequence)
WITH (fillfactor = 70);
CREATE INDEX message_by_group ON message (backlog, group_key, sequence)
WHERE group_key IS NOT NULL;
CREATE INDEX message_exhausted ON message (visible_at_ms, backlog, sequence) WHERE lane = 1;

-- The part that never changes.
CREATE TABLE message_body (
    sequence bigint PRIMARY KEY,
    sent_at_ms bigint NOT NULL,
    message_id text NOT NULL,
    sender_id text NOT NULL,
    group_id text COLLATE "C",
    deduplication_id text COLLATE "C",
    trace_header text,
    attributes bytea NOT NULL,
    body bytea NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0.01,
    toast.autovacuum_vacuum_cost_delay = 0
);

-- Bodies are sealed, so compressing them is a waste; and a part of one can be read alone.
ALTER TABLE message_body ALTER COLUMN body SET STORAGE EXTERNAL;

-- How many messages there are and when they come into view. `received` 0 and 1: bucket b holds
-- those with visible_at_ms in (1000 (b - 1), 1000 b], never received and received before; only
-- what lies in the future counts. `received` 2, bucket 0: all messages of the backlog.
CREATE TABLE tally (
    backlog bigint NOT NULL,
    received smallint NOT NULL,
    bucket_s bigint NOT NULL,
    messages bigint NOT NULL,
    PRIMARY KEY (backlog, received, bucket_s)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX tally_by_bucket ON tally (bucket_s) WHERE received < 2;

-- What flushes add to the tally, each with rows of its own so that they do not wait for each
-- other. Upkeep adds them up. The truth is the sum of both tables.
CREATE TABLE tally_change (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    backlog bigint NOT NULL,
    received smallint NOT NULL,
    bucket_s bigint NOT NULL,
    messages bigint NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX tally_change_by_backlog ON tally_change (backlog, received, bucket_s);

-- A group of a FIFO queue that has messages. Fresh: its first message was never received, and
-- ready_at_ms is when that was sent; the queue's delay is added when groups are looked for.
-- Returned: ready_at_ms is when the last of its messages in flight comes, or came, back into view.
-- The row is the group's lock too: whoever changes messages of the group holds it.
CREATE TABLE fifo_group (
    key bigint PRIMARY KEY,
    backlog bigint NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    is_returned boolean NOT NULL,
    ready_at_ms bigint NOT NULL,
    UNIQUE (backlog, group_id)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX fifo_group_by_ready ON fifo_group (backlog, is_returned, ready_at_ms, key);

-- What was accepted in the last minutes, by queue: it outlives messages, backlogs and restarts.
CREATE TABLE deduplication (
    queue_id bigint NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    deduplication_id text COLLATE "C" NOT NULL,
    accepted_at_ms bigint NOT NULL,
    message_id text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (queue_id, group_id, deduplication_id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX deduplication_by_age
ON deduplication (accepted_at_ms, queue_id, group_id, deduplication_id);

CREATE TABLE receive_attempt (
    queue_id bigint NOT NULL,
    attempt_id text COLLATE "C" NOT NULL,
    attempted_at_ms bigint NOT NULL,
    -- As JSON: when the leases end, and each lease.
    leases text NOT NULL,
    PRIMARY KEY (queue_id, attempt_id)
);

CREATE INDEX receive_attempt_by_age ON receive_attempt (attempted_at_ms, queue_id, attempt_id);

CREATE TABLE noisy_tenant (
    backlog bigint NOT NULL,
    lane integer NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    last_sent_at_ms bigint NOT NULL,
    PRIMARY KEY (backlog, lane),
    UNIQUE (backlog, group_id)
);

CREATE TABLE move_task (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL UNIQUE,
    account_id text COLLATE "C" NOT NULL,
    region text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    destination text,
    messages_per_s integer,
    status text COLLATE "C" NOT NULL,
    started_at_ms bigint NOT NULL,
    -- The instant of the next step.
    due_at_ms bigint NOT NULL,
    moved bigint NOT NULL,
    to_move bigint NOT NULL,
    failure text
);

CREATE INDEX move_task_by_source ON move_task (account_id, region, name, number);
CREATE INDEX move_task_active ON move_task (account_id, number)
WHERE status IN ('RUNNING', 'CANCELLING');
CREATE INDEX move_task_by_due ON move_task (due_at_ms) WHERE status IN ('RUNNING', 'CANCELLING');

-- A version is the number of the edit that wrote it.
CREATE TABLE record (
    kind text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (kind, account_id, name)
);
