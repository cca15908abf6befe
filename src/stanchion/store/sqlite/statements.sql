-- Every statement of the store, by name. Lists come in as one JSON parameter, so that statements
-- stay the same whatever the number of items. `{rows}` repeats the VALUES row before it.

-- name: read_meta
SELECT value FROM meta WHERE name = ?;

-- name: write_meta
UPDATE meta SET value = ?2 WHERE name = ?1;

-- name: write_moved_to
INSERT OR REPLACE INTO meta (name, value) VALUES ('moved_to', ?);

-- name: delete_moved_to
DELETE FROM meta WHERE name = 'moved_to';

-- name: newest_sent_at
SELECT sent_at_ms FROM message_body ORDER BY sequence DESC LIMIT 1;


-- Queues

-- name: queue_place
SELECT q.id, q.backlog, q.retention_ms, b.messages, b.check_at_ms, q.is_fifo, q.delay_ms,
       q.receive_count_max,
       CASE WHEN q.dead_letter_name IS NOT NULL THEN
           (SELECT d.id FROM queue AS d
            WHERE d.account_id = q.dead_letter_account_id AND d.region = q.dead_letter_region
              AND d.name = q.dead_letter_name) END,
       EXISTS (SELECT 1 FROM noisy_tenant AS t WHERE t.backlog = q.backlog)
FROM queue AS q JOIN backlog AS b ON b.id = q.backlog
WHERE q.id = ?;

-- name: queue_name
SELECT account_id, region, name FROM queue WHERE id = ?;

-- name: queue_by_id
SELECT id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms
FROM queue WHERE id = ?;

-- name: queue_by_name
SELECT id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms
FROM queue WHERE account_id = ? AND region = ? AND name = ?;

-- name: queues_by_prefix
SELECT id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms
FROM queue
WHERE account_id = ?1 AND region = ?2
  AND name >= ?3 AND name < ?3 || char(0x10FFFF) AND name > ?4
ORDER BY name LIMIT ?5;

-- name: queue_deleted_at
SELECT deleted_at_ms FROM deleted_queue WHERE account_id = ? AND region = ? AND name = ?;

-- name: insert_queue
INSERT INTO queue (account_id, region, name, version, attributes, tags, retention_ms, is_fifo,
                   delay_ms, dead_letter_account_id, dead_letter_region, dead_letter_name,
                   receive_count_max, backlog, created_at_ms, modified_at_ms, change)
VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, ?13, ?13, ?14);

-- name: insert_backlog
INSERT INTO backlog (queue_id, messages) VALUES (?, 0);

-- name: set_queue_backlog
UPDATE queue SET backlog = ?2 WHERE id = ?1;

-- name: update_queue
UPDATE queue
SET version = version + 1, attributes = ?3, tags = ?4, retention_ms = ?5, is_fifo = ?6,
    delay_ms = ?7, dead_letter_account_id = ?8, dead_letter_region = ?9, dead_letter_name = ?10,
    receive_count_max = ?11, modified_at_ms = ?12, change = ?13
WHERE id = ?1 AND version = ?2;

-- name: check_backlog_now
UPDATE backlog SET check_at_ms = ?2
WHERE id = (SELECT backlog FROM queue WHERE id = ?1) AND check_at_ms IS NOT NULL;

-- name: doom_backlog
UPDATE backlog SET queue_id = NULL, check_at_ms = NULL
WHERE id = (SELECT backlog FROM queue WHERE id = ?);

-- name: remember_deleted_queue
INSERT INTO deleted_queue (account_id, region, name, deleted_at_ms, change)
SELECT account_id, region, name, ?2, ?3 FROM queue WHERE id = ?1
ON CONFLICT (account_id, region, name)
DO UPDATE SET deleted_at_ms = excluded.deleted_at_ms, change = excluded.change;

-- name: delete_queue
DELETE FROM queue WHERE id = ?;

-- name: forget_deleted_queue
DELETE FROM deleted_queue WHERE account_id = ? AND region = ? AND name = ?;

-- name: queue_purged_at
SELECT purged_at_ms FROM queue WHERE id = ?;

-- name: set_queue_purged_at
UPDATE queue SET purged_at_ms = ?2 WHERE id = ?1;

-- name: take_change
UPDATE meta SET value = value + 1 WHERE name = 'queue_changes' RETURNING value;

-- name: queue_changes
SELECT change, account_id, region, name FROM queue WHERE change > ?1
UNION ALL
SELECT change, account_id, region, name FROM deleted_queue WHERE change > ?1
ORDER BY change LIMIT ?2;


-- Messages

-- name: insert_messages
INSERT INTO message (backlog, sequence, visible_at_ms, lane) VALUES (?, ?, ?, ?){rows};

-- name: insert_bodies
INSERT INTO message_body (sequence, sent_at_ms, message_id, sender_id, group_id, trace_header,
                          attributes, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?){rows};

-- name: claim_candidates
SELECT m.sequence, m.receive_count, m.first_received_at_ms, b.sent_at_ms, b.message_id,
       b.sender_id, b.group_id, b.trace_header, b.attributes, b.body, m.dead_letter_source,
       m.provenance
FROM message AS m INDEXED BY message_by_visibility
CROSS JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = ? AND m.lane = ? AND m.visible_at_ms <= ?
ORDER BY m.visible_at_ms, m.sequence
LIMIT ?;

-- name: lease_messages
UPDATE message
SET visible_at_ms = ?2, receive_count = receive_count + 1,
    first_received_at_ms = coalesce(first_received_at_ms, ?3),
    lane = CASE WHEN receive_count + 1 >= ?5 THEN 1 ELSE lane END
WHERE backlog = ?1 AND sequence IN (SELECT value FROM json_each(?4));

-- name: next_visible_at
SELECT min((SELECT visible_at_ms FROM message INDEXED BY message_by_visibility
            WHERE backlog = ?1 AND lane = served.lane ORDER BY visible_at_ms LIMIT 1))
FROM (SELECT 0 AS lane UNION ALL SELECT 1
      UNION ALL SELECT lane FROM noisy_tenant WHERE backlog = ?1) AS served;

-- name: messages_by_sequence
SELECT sequence, receive_count, visible_at_ms, group_key FROM message
WHERE backlog = ? AND sequence IN (SELECT value FROM json_each(?));

-- name: delete_messages
DELETE FROM message WHERE backlog = ? AND sequence IN (SELECT value FROM json_each(?));

-- name: delete_bodies
DELETE FROM message_body WHERE sequence IN (SELECT value FROM json_each(?));

-- name: change_visibility
UPDATE message SET visible_at_ms = ?2
WHERE backlog = ?1 AND sequence IN (SELECT value FROM json_each(?3));

-- name: oldest_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body)
FROM message AS m CROSS JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = ? ORDER BY m.sequence LIMIT ?;


-- FIFO queues

-- name: insert_fifo_messages
INSERT INTO message (backlog, sequence, visible_at_ms, group_key)
VALUES (?, ?, ?, (SELECT key FROM fifo_group WHERE backlog = ? AND group_id = ?)){rows};

-- name: insert_fifo_bodies
INSERT INTO message_body (sequence, sent_at_ms, message_id, sender_id, group_id,
                          deduplication_id, trace_header, attributes, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?){rows};

-- name: fifo_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.lane, m.first_received_at_ms,
       m.dead_letter_source, m.provenance, b.sent_at_ms, b.message_id, b.sender_id, b.group_id,
       b.deduplication_id, b.trace_header, b.attributes, b.body
FROM json_each(?2) AS wanted
CROSS JOIN message AS m ON m.backlog = ?1 AND m.sequence = wanted.value
CROSS JOIN message_body AS b ON b.sequence = wanted.value;

-- name: accepted
SELECT d.queue_id, d.group_id, d.deduplication_id, d.accepted_at_ms, d.message_id, d.sequence
FROM (VALUES (?, ?, ?){rows}) AS wanted
CROSS JOIN deduplication AS d
  ON d.queue_id = wanted.column1 AND d.group_id = wanted.column2
 AND d.deduplication_id = wanted.column3;

-- name: remember_accepted
INSERT OR REPLACE INTO deduplication
    (queue_id, group_id, deduplication_id, accepted_at_ms, message_id, sequence)
VALUES (?, ?, ?, ?, ?, ?){rows};

-- name: receive_attempt
SELECT attempted_at_ms, leases FROM receive_attempt
WHERE queue_id = ? AND attempt_id = ? AND attempted_at_ms > ?;

-- name: remember_attempt
INSERT OR REPLACE INTO receive_attempt (queue_id, attempt_id, attempted_at_ms, leases)
VALUES (?, ?, ?, ?);

-- name: renew_attempt
UPDATE receive_attempt SET leases = ?3 WHERE queue_id = ?1 AND attempt_id = ?2;

-- name: ready_groups
SELECT g.key, g.ready_at_ms,
       (SELECT json_array(min(CASE WHEN receive_count = 0 AND visible_at_ms > ?5 THEN sequence END),
                          json_group_array(sequence))
        FROM (SELECT sequence, receive_count, visible_at_ms
              FROM message INDEXED BY message_by_group
              WHERE backlog = ?1 AND group_key = g.key ORDER BY sequence LIMIT ?6))
FROM fifo_group AS g INDEXED BY fifo_group_by_ready
WHERE g.backlog = ?1 AND g.is_returned = ?2 AND g.ready_at_ms <= ?3
ORDER BY g.ready_at_ms, g.key LIMIT ?4;

-- name: next_ready_at
SELECT ready_at_ms FROM fifo_group INDEXED BY fifo_group_by_ready
WHERE backlog = ? AND is_returned = ? ORDER BY ready_at_ms LIMIT 1;

-- name: open_groups
INSERT INTO fifo_group (key, backlog, group_id, is_returned, ready_at_ms)
VALUES (?, ?, ?, ?, ?){rows}
ON CONFLICT (backlog, group_id) DO NOTHING;

-- name: block_groups
UPDATE fifo_group SET is_returned = 1, ready_at_ms = ?1
WHERE key IN (SELECT value FROM json_each(?2));

-- name: group_states
SELECT g.key, g.is_returned, g.ready_at_ms, m.receive_count > 0,
       CASE WHEN m.receive_count = 0 THEN m.visible_at_ms ELSE
           (SELECT max(CASE WHEN receive_count > 0 THEN visible_at_ms END)
            FROM (SELECT receive_count, visible_at_ms FROM message INDEXED BY message_by_group
                  WHERE backlog = ?1 AND group_key = g.key ORDER BY sequence LIMIT ?3)) END
FROM json_each(?2) AS wanted
CROSS JOIN fifo_group AS g ON g.key = wanted.value
LEFT JOIN message AS m ON m.backlog = ?1 AND m.sequence =
    (SELECT sequence FROM message INDEXED BY message_by_group
     WHERE backlog = ?1 AND group_key = g.key ORDER BY sequence LIMIT 1);

-- name: set_group_states
UPDATE fifo_group SET is_returned = new.is_returned, ready_at_ms = new.ready_at_ms
FROM (SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS is_returned,
             json_extract(value, '$[2]') AS ready_at_ms
      FROM json_each(?)) AS new
WHERE fifo_group.key = new.key;

-- name: close_groups
DELETE FROM fifo_group WHERE key IN (SELECT value FROM json_each(?));

-- name: drop_groups
DELETE FROM fifo_group WHERE key IN (SELECT key FROM fifo_group WHERE backlog = ? LIMIT ?);


-- Fair queues

-- name: noisy_tenants
SELECT lane, group_id, last_sent_at_ms FROM noisy_tenant WHERE backlog = ? ORDER BY lane;

-- name: insert_noisy_tenant
INSERT INTO noisy_tenant (backlog, lane, group_id, last_sent_at_ms) VALUES (?, ?, ?, ?);

-- name: set_noisy_tenant_last_sent_at
UPDATE noisy_tenant SET last_sent_at_ms = ?3 WHERE backlog = ?1 AND lane = ?2;

-- name: delete_noisy_tenant
DELETE FROM noisy_tenant WHERE backlog = ? AND lane = ?;

-- name: delete_noisy_tenants
DELETE FROM noisy_tenant WHERE backlog = ?;

-- name: groups_at_head
SELECT m.sequence, b.group_id
FROM message AS m INDEXED BY message_by_visibility
CROSS JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = ? AND m.lane = 0 AND m.visible_at_ms <= ?
ORDER BY m.visible_at_ms, m.sequence
LIMIT ?;

-- name: groups_by_sequence
SELECT sequence, group_id FROM message_body
WHERE sequence IN (SELECT value FROM json_each(?));

-- name: set_lane
UPDATE message SET lane = ?2
WHERE backlog = ?1 AND sequence IN (SELECT value FROM json_each(?3));

-- name: empty_lane
UPDATE message SET lane = 0
WHERE backlog = ?1 AND sequence IN (
    SELECT sequence FROM message INDEXED BY message_by_visibility
    WHERE backlog = ?1 AND lane = ?2 ORDER BY visible_at_ms, sequence LIMIT ?3);


-- Counts

-- name: backlog_messages
SELECT messages FROM backlog WHERE id = ?;

-- name: add_to_backlog
UPDATE backlog SET messages = messages + ?2, check_at_ms = coalesce(check_at_ms, ?3)
WHERE id = ?1;

-- name: add_to_tally
INSERT INTO tally (backlog, received, bucket_s, messages) VALUES (?, ?, ?, ?){rows}
ON CONFLICT (backlog, received, bucket_s) DO UPDATE SET messages = messages + excluded.messages;

-- name: tally_after
SELECT coalesce(sum(messages), 0) FROM tally WHERE backlog = ? AND received = ? AND bucket_s > ?;

-- name: tally_of
SELECT coalesce(sum(messages), 0) FROM tally WHERE backlog = ? AND received = ? AND bucket_s = ?;

-- name: received_among_invisible
SELECT receive_count > 0 FROM message INDEXED BY message_by_visibility
WHERE backlog = ?1
  AND lane IN (SELECT 0 UNION ALL SELECT 1
               UNION ALL SELECT lane FROM noisy_tenant WHERE backlog = ?1)
  AND visible_at_ms > ?2 AND visible_at_ms <= ?3 LIMIT ?4;


-- Upkeep

-- name: doomed_backlog
SELECT id FROM backlog WHERE queue_id IS NULL ORDER BY id LIMIT 1;

-- name: delete_backlog
DELETE FROM backlog WHERE id = ?;

-- name: backlogs_to_check
SELECT queue_id FROM backlog WHERE check_at_ms <= ? ORDER BY check_at_ms LIMIT ?;

-- name: set_check_at
UPDATE backlog SET check_at_ms = ?2 WHERE id = ?1;

-- name: prune_tally
DELETE FROM tally
WHERE bucket_s < ?1 / 1000
  AND bucket_s <= coalesce((SELECT bucket_s FROM tally ORDER BY bucket_s LIMIT 1 OFFSET ?2), ?1);

-- name: drop_emptied
DELETE FROM tally WHERE backlog = ? AND received = ? AND bucket_s = ? AND messages = 0;

-- name: forget_deleted_queues
DELETE FROM deleted_queue
WHERE deleted_at_ms < ?1
  AND deleted_at_ms <= coalesce((SELECT deleted_at_ms FROM deleted_queue
                                 ORDER BY deleted_at_ms LIMIT 1 OFFSET ?2), ?1);

-- name: forget_deduplication
DELETE FROM deduplication
WHERE sequence IN (SELECT sequence FROM deduplication ORDER BY sequence LIMIT ?2)
  AND accepted_at_ms <= ?1;

-- name: forget_receive_attempts
DELETE FROM receive_attempt
WHERE number IN (SELECT number FROM receive_attempt ORDER BY number LIMIT ?2)
  AND attempted_at_ms <= ?1;


-- Dead letters

-- name: exhausted_in_view
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = x'01'
FROM message AS m INDEXED BY message_by_visibility
CROSS JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = ? AND m.lane = 1 AND m.visible_at_ms <= ?
ORDER BY m.visible_at_ms, m.sequence LIMIT ?;

-- name: exhausted_backlogs
SELECT e.backlog, b.queue_id
FROM (SELECT backlog FROM message INDEXED BY message_exhausted
      WHERE lane = 1 AND visible_at_ms <= ? ORDER BY visible_at_ms LIMIT ?) AS e
JOIN backlog AS b ON b.id = e.backlog;

-- name: next_exhausted_at
SELECT visible_at_ms FROM message INDEXED BY message_exhausted
WHERE lane = 1 ORDER BY visible_at_ms LIMIT 1;

-- name: set_exhausted_aside
UPDATE message SET lane = 1
WHERE backlog = ?1 AND sequence IN (
    SELECT sequence
    FROM (SELECT m.sequence, m.receive_count, m.dead_letter_source
          FROM message AS m INDEXED BY message_by_visibility
          WHERE m.backlog = ?1 AND m.lane = ?2 AND m.visible_at_ms <= ?3
          ORDER BY m.visible_at_ms, m.sequence LIMIT ?4)
    WHERE receive_count >= ?5 AND dead_letter_source IS NULL);

-- name: forget_exhausted
UPDATE message SET lane = 0
WHERE backlog = ?1 AND sequence IN (
    SELECT sequence FROM message INDEXED BY message_by_visibility
    WHERE backlog = ?1 AND lane = 1 AND visible_at_ms <= ?2 LIMIT ?3);

-- name: bury_messages
UPDATE message
SET backlog = ?2, visible_at_ms = ?3, lane = 0, dead_letter_source = ?4,
    provenance = coalesce(CAST(moved.provenance AS BLOB), message.provenance)
FROM (SELECT json_extract(value, '$[0]') AS backlog, json_extract(value, '$[1]') AS sequence,
             json_extract(value, '$[2]') AS provenance
      FROM json_each(?1)) AS moved
WHERE message.backlog = moved.backlog AND message.sequence = moved.sequence;

-- name: bury_fifo_message
UPDATE message
SET backlog = ?3, sequence = ?4, visible_at_ms = ?5, lane = 0, dead_letter_source = ?6,
    group_key = (SELECT key FROM fifo_group WHERE backlog = ?3 AND group_id = ?7),
    provenance = coalesce(?8, provenance)
WHERE backlog = ?1 AND sequence = ?2;

-- name: bury_fifo_body
UPDATE message_body SET sequence = ?2, sent_at_ms = ?3, deduplication_id = message_id
WHERE sequence = ?1;

-- name: queues_by_dead_letter_queue
SELECT id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms
FROM queue INDEXED BY queue_by_dead_letter_queue
WHERE dead_letter_account_id = ? AND dead_letter_region = ? AND dead_letter_name = ? AND name > ?
ORDER BY name LIMIT ?;


-- Move tasks

-- name: queue_id_by_name
SELECT id FROM queue WHERE account_id = ? AND region = ? AND name = ?;

-- name: insert_move
INSERT INTO move_task (task_id, account_id, region, name, destination, messages_per_s, status,
                       started_at_ms, due_at_ms, moved, to_move)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'RUNNING', ?7, ?7, 0, ?8);

-- name: active_move_of
SELECT 1 FROM move_task INDEXED BY move_task_active
WHERE account_id = ? AND region = ? AND name = ? AND status IN ('RUNNING', 'CANCELLING');

-- name: active_moves
SELECT count(*) FROM move_task INDEXED BY move_task_active
WHERE account_id = ? AND status IN ('RUNNING', 'CANCELLING');

-- name: move_by_id
SELECT task_id, account_id, region, name, destination, messages_per_s, status, started_at_ms,
       moved, to_move, failure
FROM move_task WHERE task_id = ?;

-- name: moves_of
SELECT task_id, account_id, region, name, destination, messages_per_s, status, started_at_ms,
       moved, to_move, failure
FROM move_task INDEXED BY move_task_by_source
WHERE account_id = ? AND region = ? AND name = ? ORDER BY number DESC LIMIT ?;

-- name: cancel_move
UPDATE move_task SET status = 'CANCELLING', due_at_ms = ?2
WHERE task_id = ?1 AND status = 'RUNNING';

-- name: moves_due
SELECT number, due_at_ms, task_id, account_id, region, name, destination, messages_per_s, status,
       started_at_ms, moved, to_move, failure
FROM move_task INDEXED BY move_task_by_due
WHERE status IN ('RUNNING', 'CANCELLING') AND due_at_ms <= ? ORDER BY due_at_ms LIMIT ?;

-- name: next_move_due_at
SELECT due_at_ms FROM move_task INDEXED BY move_task_by_due
WHERE status IN ('RUNNING', 'CANCELLING') ORDER BY due_at_ms LIMIT 1;

-- name: advance_move
UPDATE move_task SET moved = moved + ?2, due_at_ms = ?3 WHERE number = ?1;

-- name: finish_move
UPDATE move_task SET moved = moved + ?2, status = ?3, failure = ?4 WHERE number = ?1;

-- name: forget_moves
DELETE FROM move_task
WHERE account_id = ?1 AND region = ?2 AND name = ?3 AND status NOT IN ('RUNNING', 'CANCELLING')
  AND number <= (SELECT number FROM move_task INDEXED BY move_task_by_source
                 WHERE account_id = ?1 AND region = ?2 AND name = ?3
                   AND status NOT IN ('RUNNING', 'CANCELLING')
                 ORDER BY number DESC LIMIT 1 OFFSET ?4);

-- name: lanes
WITH RECURSIVE l(lane) AS (
    SELECT min(lane) FROM message WHERE backlog = ?1
    UNION ALL
    SELECT (SELECT min(lane) FROM message WHERE backlog = ?1 AND lane > l.lane)
    FROM l WHERE l.lane IS NOT NULL)
SELECT lane FROM l WHERE lane IS NOT NULL;

-- name: movable_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = x'01',
       m.dead_letter_source
FROM message AS m INDEXED BY message_by_visibility
CROSS JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = ? AND m.lane = ? AND m.visible_at_ms <= ?
ORDER BY m.visible_at_ms, m.sequence LIMIT ?;

-- name: movable_by_sequence
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = x'01',
       m.dead_letter_source
FROM message AS m CROSS JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = ? AND m.sequence IN (SELECT value FROM json_each(?));

-- name: redrive_message
UPDATE message
SET backlog = ?3, sequence = ?4, visible_at_ms = ?5, receive_count = 0,
    first_received_at_ms = NULL, lane = 0, dead_letter_source = NULL,
    group_key = (SELECT key FROM fifo_group WHERE backlog = ?3 AND group_id = ?6),
    provenance = coalesce(?7, provenance)
WHERE backlog = ?1 AND sequence = ?2;

-- name: redrive_body
UPDATE message_body SET sequence = ?2, sent_at_ms = ?3, message_id = ?4 WHERE sequence = ?1;


-- Records

-- name: record
SELECT version, value FROM record WHERE kind = ? AND account_id = ? AND name = ?;

-- name: records_by_prefix
SELECT name, version, value FROM record
WHERE kind = ?1 AND account_id = ?2
  AND name >= ?3 AND name < ?3 || char(0x10FFFF) AND name > ?4
ORDER BY name LIMIT ?5;

-- name: next_edit
UPDATE meta SET value = value + 1 WHERE name = 'edits' RETURNING value;

-- name: put_record
INSERT INTO record (kind, account_id, name, version, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET version = excluded.version, value = excluded.value;

-- name: delete_record
DELETE FROM record WHERE kind = ? AND account_id = ? AND name = ?;
