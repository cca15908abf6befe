-- Every statement of the store, by name. Lists come in as one JSON parameter, so that statements
-- stay the same whatever the number of items. `{rows}` repeats the VALUES row before it.

-- name: read_meta
SELECT value FROM meta WHERE name = ?;

-- name: write_meta
UPDATE meta SET value = ?2 WHERE name = ?1;

-- name: newest_sent_at
SELECT sent_at_ms FROM message_body ORDER BY sequence DESC LIMIT 1;


-- Queues

-- name: queue_place
SELECT q.backlog, q.retention_ms, b.messages
FROM queue AS q JOIN backlog AS b ON b.id = q.backlog
WHERE q.id = ?;

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
INSERT INTO queue (account_id, region, name, version, attributes, tags, retention_ms, backlog,
                   created_at_ms, modified_at_ms)
VALUES (?, ?, ?, 1, ?, ?, ?, 0, ?, ?);

-- name: insert_backlog
INSERT INTO backlog (queue_id, messages) VALUES (?, 0);

-- name: set_queue_backlog
UPDATE queue SET backlog = ?2 WHERE id = ?1;

-- name: update_queue
UPDATE queue
SET version = version + 1, attributes = ?3, tags = ?4, retention_ms = ?5, modified_at_ms = ?6
WHERE id = ?1 AND version = ?2;

-- name: check_backlog_now
UPDATE backlog SET check_at_ms = ?2
WHERE id = (SELECT backlog FROM queue WHERE id = ?1) AND check_at_ms IS NOT NULL;

-- name: doom_backlog
UPDATE backlog SET queue_id = NULL, check_at_ms = NULL
WHERE id = (SELECT backlog FROM queue WHERE id = ?);

-- name: remember_deleted_queue
INSERT INTO deleted_queue (account_id, region, name, deleted_at_ms)
SELECT account_id, region, name, ?2 FROM queue WHERE id = ?1
ON CONFLICT (account_id, region, name) DO UPDATE SET deleted_at_ms = excluded.deleted_at_ms;

-- name: delete_queue
DELETE FROM queue WHERE id = ?;

-- name: forget_deleted_queue
DELETE FROM deleted_queue WHERE account_id = ? AND region = ? AND name = ?;

-- name: queue_purged_at
SELECT purged_at_ms FROM queue WHERE id = ?;

-- name: set_queue_purged_at
UPDATE queue SET purged_at_ms = ?2 WHERE id = ?1;


-- Messages

-- name: insert_messages
INSERT INTO message (backlog, sequence, visible_at_ms) VALUES (?, ?, ?){rows};

-- name: insert_bodies
INSERT INTO message_body (sequence, sent_at_ms, message_id, body_md5, sender_id, group_id,
                          trace_header, attributes, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?){rows};

-- name: claim_candidates
SELECT m.sequence, m.receive_count, m.first_received_at_ms, b.sent_at_ms, b.message_id,
       b.body_md5, b.sender_id, b.group_id, b.trace_header, b.attributes, b.body
FROM message AS m INDEXED BY message_by_visibility
CROSS JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = ? AND m.visible_at_ms <= ?
ORDER BY m.visible_at_ms, m.sequence
LIMIT ?;

-- name: lease_messages
UPDATE message
SET visible_at_ms = ?2, receive_count = receive_count + 1,
    first_received_at_ms = coalesce(first_received_at_ms, ?3)
WHERE backlog = ?1 AND sequence IN (SELECT value FROM json_each(?4));

-- name: next_visible_at
SELECT visible_at_ms FROM message INDEXED BY message_by_visibility
WHERE backlog = ? ORDER BY visible_at_ms LIMIT 1;

-- name: messages_by_sequence
SELECT sequence, receive_count, visible_at_ms FROM message
WHERE backlog = ? AND sequence IN (SELECT value FROM json_each(?));

-- name: delete_messages
DELETE FROM message WHERE backlog = ? AND sequence IN (SELECT value FROM json_each(?));

-- name: delete_bodies
DELETE FROM message_body WHERE sequence IN (SELECT value FROM json_each(?));

-- name: change_visibility
UPDATE message SET visible_at_ms = ?2
WHERE backlog = ?1 AND sequence IN (SELECT value FROM json_each(?3));

-- name: oldest_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, b.sent_at_ms, length(b.body)
FROM message AS m CROSS JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = ? ORDER BY m.sequence LIMIT ?;


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
WHERE backlog = ? AND visible_at_ms > ? AND visible_at_ms <= ? LIMIT ?;


-- Upkeep

-- name: doomed_backlog
SELECT id FROM backlog WHERE queue_id IS NULL ORDER BY id LIMIT 1;

-- name: delete_backlog
DELETE FROM backlog WHERE id = ?;

-- name: backlogs_to_check
SELECT b.id, q.retention_ms FROM backlog AS b JOIN queue AS q ON q.id = b.queue_id
WHERE b.check_at_ms <= ? ORDER BY b.check_at_ms LIMIT ?;

-- name: set_check_at
UPDATE backlog SET check_at_ms = ?2 WHERE id = ?1;

-- name: prune_tally
DELETE FROM tally WHERE (backlog, received, bucket_s) IN (
    SELECT backlog, received, bucket_s FROM tally WHERE bucket_s < ? LIMIT ?);

-- name: forget_deleted_queues
DELETE FROM deleted_queue WHERE (account_id, region, name) IN (
    SELECT account_id, region, name FROM deleted_queue WHERE deleted_at_ms < ? LIMIT ?);


-- Accounts and secrets

-- name: access_key
SELECT access_key_id, secret, account_id FROM access_key WHERE access_key_id = ?;

-- name: root_key
SELECT access_key_id, secret, account_id FROM access_key WHERE account_id = ? AND is_root;

-- name: delete_root_key
DELETE FROM access_key WHERE account_id = ? AND is_root;

-- name: insert_root_key
INSERT INTO access_key (access_key_id, secret, account_id, is_root) VALUES (?, ?, ?, 1);

-- name: secret
SELECT value FROM secret WHERE name = ?;

-- name: insert_secret
INSERT INTO secret (name, value) VALUES (?, ?);
