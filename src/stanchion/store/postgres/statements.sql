-- Every statement of the store, by name; those that SQLite's store has too have its names. Lists
-- come in as arrays, so that statements stay the same whatever the number of items.

-- name: read_meta
SELECT value FROM meta WHERE name = $1;

-- name: write_meta
UPDATE meta SET value = $2 WHERE name = $1;

-- name: note_latest
UPDATE meta SET value = $1 WHERE name = 'latest_ms' AND value < $1;

-- name: newest_sent_at
SELECT sent_at_ms FROM message_body ORDER BY sequence DESC LIMIT 1;

-- name: take_sequences
SELECT nextval('message_sequence') FROM generate_series(1, $1::bigint);

-- name: lock_directory
SELECT pg_advisory_xact_lock(hashtext(current_schema()), 1);

-- name: try_lock_upkeep
SELECT pg_try_advisory_xact_lock(hashtext(current_schema()), 2);


-- Wake-ups

-- name: notify
SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload;

-- name: listeners
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1;

-- name: queues_in_view
SELECT q.id
FROM unnest($1::bigint[]) AS wanted (id)
JOIN queue AS q ON q.id = wanted.id
WHERE CASE WHEN q.is_fifo THEN
    EXISTS (SELECT FROM fifo_group AS g WHERE g.backlog = q.backlog
            AND NOT g.is_returned AND g.ready_at_ms <= $2 - q.delay_ms)
    OR EXISTS (SELECT FROM fifo_group AS g WHERE g.backlog = q.backlog
               AND g.is_returned AND g.ready_at_ms <= $2)
ELSE EXISTS (
    SELECT FROM (SELECT 0 AS lane
                 UNION ALL SELECT lane FROM noisy_tenant WHERE backlog = q.backlog) AS served
    CROSS JOIN LATERAL (
        SELECT FROM message AS m
        WHERE m.backlog = q.backlog AND m.lane = served.lane AND m.visible_at_ms <= $2
        LIMIT 1) AS m)
END;


-- Queues

-- name: queue_places
SELECT clock.now_ms, q.id, q.backlog, q.retention_ms, q.check_at_ms, q.is_fifo, q.delay_ms,
       q.receive_count_max, q.dead_letter_queue_id, q.has_noisy_tenants
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms) AS clock
LEFT JOIN LATERAL (
    SELECT q.id, q.backlog, q.retention_ms, b.check_at_ms, q.is_fifo, q.delay_ms,
           q.receive_count_max,
           CASE WHEN q.dead_letter_name IS NOT NULL THEN
               (SELECT d.id FROM queue AS d
                WHERE d.account_id = q.dead_letter_account_id
                  AND d.region = q.dead_letter_region AND d.name = q.dead_letter_name)
           END AS dead_letter_queue_id,
           EXISTS (SELECT FROM noisy_tenant AS t WHERE t.backlog = q.backlog)
               AS has_noisy_tenants
    FROM unnest($1::bigint[]) AS wanted (id)
    JOIN queue AS q ON q.id = wanted.id
    JOIN backlog AS b ON b.id = q.backlog) AS q ON true;

-- name: queue_name
SELECT account_id, region, name FROM queue WHERE id = $1;

-- name: queue_by_id
SELECT id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms
FROM queue WHERE id = $1;

-- name: queue_by_name
SELECT id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms
FROM queue WHERE account_id = $1 AND region = $2 AND name = $3;

-- name: queues_by_prefix
SELECT id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms
FROM queue
WHERE account_id = $1 AND region = $2
  AND name >= $3 AND name < $3::text || chr(1114111) AND name > $4
ORDER BY name LIMIT $5;

-- name: queue_deleted_at
SELECT deleted_at_ms FROM deleted_queue WHERE account_id = $1 AND region = $2 AND name = $3;

-- name: insert_queue
INSERT INTO queue (account_id, region, name, version, attributes, tags, retention_ms, is_fifo,
                   delay_ms, dead_letter_account_id, dead_letter_region, dead_letter_name,
                   receive_count_max, backlog, created_at_ms, modified_at_ms)
VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, $13)
RETURNING id;

-- name: insert_backlog
INSERT INTO backlog (queue_id, check_at_ms) VALUES ($1, $2) RETURNING id;

-- name: set_queue_backlog
UPDATE queue SET backlog = $2 WHERE id = $1;

-- name: update_queue
UPDATE queue
SET version = version + 1, attributes = $3, tags = $4, retention_ms = $5, is_fifo = $6,
    delay_ms = $7, dead_letter_account_id = $8, dead_letter_region = $9, dead_letter_name = $10,
    receive_count_max = $11, modified_at_ms = $12
WHERE id = $1 AND version = $2
RETURNING id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms;

-- name: check_backlog_by
UPDATE backlog SET check_at_ms = $2 WHERE id = $1 AND check_at_ms > $2;

-- name: check_backlog_now
UPDATE backlog SET check_at_ms = $2
WHERE id = (SELECT backlog FROM queue WHERE id = $1) AND check_at_ms > $2;

-- name: doom_backlog
UPDATE backlog SET queue_id = NULL, check_at_ms = NULL, doomed_at_ms = $2, drop_at_ms = $2
WHERE id = (SELECT backlog FROM queue WHERE id = $1);

-- name: remember_deleted_queue
INSERT INTO deleted_queue (account_id, region, name, deleted_at_ms)
SELECT account_id, region, name, $2 FROM queue WHERE id = $1
ON CONFLICT (account_id, region, name) DO UPDATE SET deleted_at_ms = excluded.deleted_at_ms;

-- name: delete_queue
DELETE FROM queue WHERE id = $1;

-- name: forget_deleted_queue
DELETE FROM deleted_queue WHERE account_id = $1 AND region = $2 AND name = $3;

-- name: queue_purged_at
SELECT purged_at_ms, retention_ms FROM queue WHERE id = $1 FOR UPDATE;

-- name: set_queue_purged_at
UPDATE queue SET purged_at_ms = $2 WHERE id = $1;


-- Messages

-- name: insert_messages
WITH new AS MATERIALIZED (
    SELECT nextval('message_sequence') AS sequence, sent.*
    FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[],
                $7::text[], $8::bytea[], $9::bytea[])
      AS sent (backlog, visible_at_ms, lane, message_id, sender_id, group_id, trace_header,
               attributes, body)),
hot AS (
    INSERT INTO message (backlog, sequence, visible_at_ms, lane)
    SELECT backlog, sequence, visible_at_ms, lane FROM new)
INSERT INTO message_body (sequence, sent_at_ms, message_id, sender_id, group_id, trace_header,
                          attributes, body)
SELECT sequence, $10, message_id, sender_id, group_id, trace_header, attributes, body FROM new;

-- name: claim_candidates
SELECT m.sequence, m.receive_count, m.first_received_at_ms, b.sent_at_ms, b.message_id,
       b.sender_id, b.group_id, b.trace_header, b.attributes,
       CASE WHEN row_number() OVER earlier <= wanted.rows_min
              OR sum(octet_length(b.body)) OVER earlier <= $6 THEN b.body END,
       m.dead_letter_source, m.provenance, wanted.number, m.visible_at_ms
FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $7::bigint[])
     WITH ORDINALITY AS wanted (backlog, lane, messages, rows_min, since_ms, number)
CROSS JOIN LATERAL (
    SELECT sequence, visible_at_ms, receive_count, first_received_at_ms, dead_letter_source,
           provenance
    FROM message
    WHERE backlog = wanted.backlog AND lane = wanted.lane
      AND visible_at_ms >= wanted.since_ms AND visible_at_ms <= $5
    ORDER BY visible_at_ms, sequence LIMIT wanted.messages
    FOR UPDATE SKIP LOCKED) AS m
JOIN message_body AS b ON b.sequence = m.sequence
WINDOW earlier AS (PARTITION BY wanted.number ORDER BY m.visible_at_ms, m.sequence)
ORDER BY wanted.number, m.visible_at_ms, m.sequence;

-- name: lease_messages
UPDATE message AS m
SET visible_at_ms = taken.visible_at_ms, receive_count = m.receive_count + 1,
    first_received_at_ms = coalesce(m.first_received_at_ms, $5),
    lane = CASE WHEN m.receive_count + 1 >= taken.exhausted_at THEN 1 ELSE m.lane END
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[])
  AS taken (backlog, sequence, visible_at_ms, exhausted_at)
WHERE m.backlog = taken.backlog AND m.sequence = taken.sequence;

-- name: next_visible_at
SELECT wanted.backlog, min(
    (SELECT visible_at_ms FROM message
     WHERE backlog = wanted.backlog AND lane = served.lane AND visible_at_ms >= served.since_ms
     ORDER BY visible_at_ms LIMIT 1))
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
  AS wanted (backlog, ordinary_since_ms, exhausted_since_ms)
CROSS JOIN LATERAL (
    SELECT 0 AS lane, wanted.ordinary_since_ms AS since_ms
    UNION ALL SELECT 1, wanted.exhausted_since_ms
    UNION ALL SELECT lane, 0 FROM noisy_tenant WHERE backlog = wanted.backlog) AS served
GROUP BY wanted.backlog;

-- name: messages_by_sequence
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, m.backlog
FROM unnest($1::bigint[], $2::bigint[]) AS wanted (backlog, sequence)
JOIN message AS m ON m.backlog = wanted.backlog AND m.sequence = wanted.sequence
ORDER BY m.backlog, m.sequence FOR UPDATE OF m;

-- name: change_visibility
UPDATE message AS m SET visible_at_ms = shown.visible_at_ms
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS shown (backlog, sequence, visible_at_ms)
WHERE m.backlog = shown.backlog AND m.sequence = shown.sequence;

-- name: erase_messages
WITH gone AS (
    DELETE FROM message AS m USING unnest($1::bigint[], $2::bigint[]) AS w (backlog, sequence)
    WHERE m.backlog = w.backlog AND m.sequence = w.sequence)
DELETE FROM message_body WHERE sequence = ANY ($2::bigint[]);

-- name: oldest_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body)
FROM message AS m JOIN message_body AS b ON b.sequence = m.sequence
WHERE m.backlog = $1 ORDER BY m.sequence LIMIT $2;

-- name: lock_free_messages
SELECT sequence, receive_count, visible_at_ms, group_key FROM message
WHERE backlog = $1 AND sequence = ANY ($2::bigint[])
ORDER BY sequence FOR UPDATE SKIP LOCKED;


-- FIFO queues

-- name: insert_fifo_messages
WITH sent AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                         $6::text[], $7::text[], $8::bytea[], $9::bytea[])
      AS sent (backlog, sequence, message_id, sender_id, group_id, deduplication_id,
               trace_header, attributes, body)),
hot AS (
    INSERT INTO message (backlog, sequence, visible_at_ms, group_key)
    SELECT backlog, sequence, $10,
           (SELECT key FROM fifo_group AS g
            WHERE g.backlog = sent.backlog AND g.group_id = sent.group_id)
    FROM sent)
INSERT INTO message_body (sequence, sent_at_ms, message_id, sender_id, group_id,
                          deduplication_id, trace_header, attributes, body)
SELECT sequence, $10, message_id, sender_id, group_id, deduplication_id, trace_header,
       attributes, body
FROM sent;

-- name: fifo_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.lane, m.first_received_at_ms,
       m.dead_letter_source, m.provenance, b.sent_at_ms, b.message_id, b.sender_id, b.group_id,
       b.deduplication_id, b.trace_header, b.attributes,
       CASE WHEN wanted.is_due OR sum(octet_length(b.body)) OVER earlier <= $4
            THEN b.body END, m.backlog
FROM unnest($1::bigint[], $2::bigint[], $3::boolean[])
     WITH ORDINALITY AS wanted (backlog, sequence, is_due, number)
JOIN message AS m ON m.backlog = wanted.backlog AND m.sequence = wanted.sequence
JOIN message_body AS b ON b.sequence = wanted.sequence
WINDOW earlier AS (PARTITION BY wanted.backlog ORDER BY wanted.number)
ORDER BY wanted.number;

-- name: accepted
SELECT d.queue_id, d.group_id, d.deduplication_id, d.accepted_at_ms, d.message_id, d.sequence
FROM unnest($1::bigint[], $2::text[], $3::text[])
  AS wanted (queue_id, group_id, deduplication_id)
JOIN deduplication AS d ON d.queue_id = wanted.queue_id AND d.group_id = wanted.group_id
                       AND d.deduplication_id = wanted.deduplication_id;

-- name: remember_accepted
INSERT INTO deduplication AS d
    (queue_id, group_id, deduplication_id, accepted_at_ms, message_id, sequence)
SELECT queue_id, group_id, deduplication_id, $6, message_id, sequence
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[])
  AS new (queue_id, group_id, deduplication_id, message_id, sequence)
ORDER BY queue_id, group_id, deduplication_id
ON CONFLICT (queue_id, group_id, deduplication_id)
DO UPDATE SET accepted_at_ms = excluded.accepted_at_ms, message_id = excluded.message_id,
              sequence = excluded.sequence
WHERE d.accepted_at_ms <= $7
RETURNING queue_id, group_id, deduplication_id;

-- name: lock_attempts
SELECT pg_advisory_xact_lock(number)
FROM (SELECT DISTINCT hashtextextended(attempt_id, queue_id) AS number
      FROM unnest($1::bigint[], $2::text[]) AS named (queue_id, attempt_id)
      ORDER BY number) AS sorted;

-- name: leases_of_attempts
SELECT a.queue_id, a.leases
FROM unnest($1::bigint[], $2::text[]) AS named (queue_id, attempt_id)
JOIN receive_attempt AS a ON a.queue_id = named.queue_id AND a.attempt_id = named.attempt_id;

-- name: receive_attempt
SELECT attempted_at_ms, leases FROM receive_attempt
WHERE queue_id = $1 AND attempt_id = $2 AND attempted_at_ms > $3;

-- name: remember_attempt
INSERT INTO receive_attempt (queue_id, attempt_id, attempted_at_ms, leases)
VALUES ($1, $2, $3, $4)
ON CONFLICT (queue_id, attempt_id)
DO UPDATE SET attempted_at_ms = excluded.attempted_at_ms, leases = excluded.leases;

-- name: renew_attempt
UPDATE receive_attempt SET leases = $3 WHERE queue_id = $1 AND attempt_id = $2;

-- name: ready_groups
SELECT wanted.number, g.key, g.ready_at_ms, wanted.is_returned
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::bigint[])
     WITH ORDINALITY AS wanted (backlog, is_returned, until_ms, groups, number)
CROSS JOIN LATERAL (
    SELECT key, ready_at_ms FROM fifo_group
    WHERE backlog = wanted.backlog AND is_returned = wanted.is_returned
      AND ready_at_ms <= wanted.until_ms AND key <> ALL ($5::bigint[])
    ORDER BY ready_at_ms, key LIMIT wanted.groups
    FOR UPDATE SKIP LOCKED) AS g;

-- name: first_messages
SELECT wanted.key, m.sequence, m.receive_count, m.visible_at_ms
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS wanted (backlog, key, messages)
CROSS JOIN LATERAL (
    SELECT sequence, receive_count, visible_at_ms FROM message
    WHERE backlog = wanted.backlog AND group_key = wanted.key
    ORDER BY sequence LIMIT wanted.messages) AS m
ORDER BY m.sequence;

-- name: next_ready_at
SELECT (SELECT ready_at_ms FROM fifo_group
        WHERE backlog = wanted.backlog AND is_returned = false ORDER BY ready_at_ms LIMIT 1),
       (SELECT ready_at_ms FROM fifo_group
        WHERE backlog = wanted.backlog AND is_returned = true ORDER BY ready_at_ms LIMIT 1)
FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (backlog, number)
ORDER BY wanted.number;

-- Locks the groups that exist, and makes the others, in one sorted order. An update whose condition
-- is false locks the row and writes nothing.
-- name: open_groups
WITH new AS MATERIALIZED (
    SELECT nextval('message_sequence') AS key, backlog, group_id, is_returned, ready_at_ms
    FROM unnest($1::bigint[], $2::text[], $3::boolean[], $4::bigint[])
      AS given (backlog, group_id, is_returned, ready_at_ms))
INSERT INTO fifo_group AS g (key, backlog, group_id, is_returned, ready_at_ms)
SELECT key, backlog, group_id, is_returned, ready_at_ms FROM new ORDER BY backlog, group_id
ON CONFLICT (backlog, group_id) DO UPDATE SET ready_at_ms = g.ready_at_ms WHERE false
RETURNING backlog, group_id;

-- name: lock_groups_of
SELECT g.key FROM fifo_group AS g
WHERE g.key IN (SELECT m.group_key
                FROM unnest($1::bigint[], $2::bigint[]) AS wanted (backlog, sequence)
                JOIN message AS m ON m.backlog = wanted.backlog AND m.sequence = wanted.sequence)
ORDER BY g.backlog, g.group_id FOR UPDATE OF g;

-- name: try_groups_of
SELECT g.key FROM fifo_group AS g
WHERE g.key IN (SELECT group_key FROM message
                WHERE backlog = $1 AND sequence = ANY ($2::bigint[]))
FOR UPDATE OF g SKIP LOCKED;

-- name: try_groups_named
SELECT g.backlog, g.group_id, g.key
FROM unnest($1::bigint[], $2::text[]) AS named (backlog, group_id)
JOIN fifo_group AS g ON g.backlog = named.backlog AND g.group_id = named.group_id
FOR UPDATE OF g SKIP LOCKED;

-- name: groups_named
SELECT g.backlog, g.group_id
FROM unnest($1::bigint[], $2::text[]) AS named (backlog, group_id)
JOIN fifo_group AS g ON g.backlog = named.backlog AND g.group_id = named.group_id;

-- name: keys_of_groups
SELECT key FROM fifo_group WHERE backlog = $1 AND group_id = ANY ($2::text[]);

-- name: block_groups
UPDATE fifo_group AS g SET is_returned = true, ready_at_ms = blocked.ready_at_ms
FROM unnest($1::bigint[], $2::bigint[]) AS blocked (key, ready_at_ms)
WHERE g.key = blocked.key;

-- name: group_states
SELECT wanted.number, g.key, g.is_returned, g.ready_at_ms, m.receive_count > 0,
       CASE WHEN m.receive_count = 0 THEN m.visible_at_ms ELSE
           (SELECT max(visible_at_ms) FILTER (WHERE receive_count > 0)
            FROM (SELECT receive_count, visible_at_ms FROM message
                  WHERE backlog = g.backlog AND group_key = g.key ORDER BY sequence LIMIT $3)
              AS firsts) END
FROM unnest($1::bigint[], $2::bigint[]) AS wanted (number, key)
JOIN fifo_group AS g ON g.key = wanted.key
LEFT JOIN LATERAL (
    SELECT receive_count, visible_at_ms FROM message
    WHERE backlog = g.backlog AND group_key = g.key ORDER BY sequence LIMIT 1) AS m ON true;

-- name: set_group_states
UPDATE fifo_group AS g SET is_returned = new.is_returned, ready_at_ms = new.ready_at_ms
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[]) AS new (key, is_returned, ready_at_ms)
WHERE g.key = new.key;

-- name: close_groups
DELETE FROM fifo_group WHERE key = ANY ($1::bigint[]);

-- name: drop_groups
DELETE FROM fifo_group
WHERE key IN (SELECT key FROM fifo_group WHERE backlog = $1 LIMIT $2);


-- Fair queues

-- name: noisy_tenants
SELECT backlog, lane, group_id, last_sent_at_ms FROM noisy_tenant
WHERE backlog = ANY ($1::bigint[]) ORDER BY backlog, lane;

-- name: hold_noisy_tenants
SELECT backlog, lane, group_id, last_sent_at_ms FROM noisy_tenant
WHERE backlog = ANY ($1::bigint[]) ORDER BY backlog, lane FOR KEY SHARE;

-- name: try_noisy_tenants
SELECT lane, group_id FROM noisy_tenant WHERE backlog = $1 FOR KEY SHARE SKIP LOCKED;

-- name: lock_noisy_tenant
SELECT lane FROM noisy_tenant WHERE backlog = $1 AND lane = $2 FOR UPDATE SKIP LOCKED;

-- name: insert_noisy_tenant
INSERT INTO noisy_tenant (backlog, lane, group_id, last_sent_at_ms) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING;

-- name: set_noisy_tenant_last_sent_at
UPDATE noisy_tenant SET last_sent_at_ms = $3 WHERE backlog = $1 AND lane = $2;

-- name: delete_noisy_tenant
DELETE FROM noisy_tenant WHERE backlog = $1 AND lane = $2;

-- name: delete_noisy_tenants
DELETE FROM noisy_tenant WHERE backlog = $1;

-- name: groups_at_head
SELECT m.sequence, b.group_id
FROM (SELECT sequence, visible_at_ms FROM message
      WHERE backlog = $1 AND lane = 0 AND visible_at_ms <= $2
      ORDER BY visible_at_ms, sequence LIMIT $3 FOR UPDATE SKIP LOCKED) AS m
JOIN message_body AS b ON b.sequence = m.sequence
ORDER BY m.visible_at_ms, m.sequence;

-- name: groups_by_sequence
SELECT sequence, group_id FROM message_body WHERE sequence = ANY ($1::bigint[]);

-- name: set_lane
UPDATE message SET lane = $2 WHERE backlog = $1 AND sequence = ANY ($3::bigint[]);

-- name: empty_lane
UPDATE message SET lane = 0
WHERE backlog = $1 AND sequence = ANY (ARRAY(
    SELECT sequence FROM message
    WHERE backlog = $1 AND lane = $2 ORDER BY visible_at_ms, sequence LIMIT $3
    FOR UPDATE SKIP LOCKED));

-- name: is_lane_used
SELECT FROM message WHERE backlog = $1 AND lane = $2 LIMIT 1;


-- Counts

-- name: backlog_messages
SELECT coalesce(sum(messages), 0)::bigint FROM (
    SELECT messages FROM tally WHERE backlog = $1 AND received = 2 AND bucket_s = 0
    UNION ALL
    SELECT messages FROM tally_change WHERE backlog = $1 AND received = 2 AND bucket_s = 0
) AS tallied;

-- name: add_to_tally
INSERT INTO tally_change (backlog, received, bucket_s, messages)
SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[]);

-- name: tally_after
SELECT coalesce(sum(messages), 0)::bigint FROM (
    SELECT messages FROM tally WHERE backlog = $1 AND received = $2 AND bucket_s > $3
    UNION ALL
    SELECT messages FROM tally_change WHERE backlog = $1 AND received = $2 AND bucket_s > $3
) AS tallied;

-- name: tally_of
SELECT coalesce(sum(messages), 0)::bigint FROM (
    SELECT messages FROM tally WHERE backlog = $1 AND received = $2 AND bucket_s = $3
    UNION ALL
    SELECT messages FROM tally_change WHERE backlog = $1 AND received = $2 AND bucket_s = $3
) AS tallied;

-- name: received_among_invisible
SELECT m.receive_count > 0
FROM (SELECT 0 AS lane UNION ALL SELECT 1
      UNION ALL SELECT lane FROM noisy_tenant WHERE backlog = $1) AS served
CROSS JOIN LATERAL (
    SELECT receive_count FROM message
    WHERE backlog = $1 AND lane = served.lane AND visible_at_ms > $2 AND visible_at_ms <= $3
    LIMIT $4) AS m
LIMIT $4;

-- name: sum_up_tally
WITH taken AS (
    DELETE FROM tally_change
    WHERE number IN (SELECT number FROM tally_change ORDER BY number LIMIT $1)
    RETURNING backlog, received, bucket_s, messages),
added AS (
    INSERT INTO tally (backlog, received, bucket_s, messages)
    SELECT backlog, received, bucket_s, sum(messages) FROM taken
    GROUP BY backlog, received, bucket_s
    ON CONFLICT (backlog, received, bucket_s)
    DO UPDATE SET messages = tally.messages + excluded.messages)
SELECT count(*) FROM taken;


-- Upkeep

-- name: doomed_backlog
SELECT id, doomed_at_ms FROM backlog
WHERE queue_id IS NULL AND drop_at_ms <= $1 ORDER BY drop_at_ms, id LIMIT 1;

-- name: set_drop_at
UPDATE backlog SET drop_at_ms = $2 WHERE id = $1;

-- name: delete_backlog
WITH backlog_gone AS (DELETE FROM backlog WHERE id = $1),
     sums_gone AS (DELETE FROM tally WHERE backlog = $1)
DELETE FROM tally_change WHERE backlog = $1;

-- name: backlogs_to_check
SELECT queue_id FROM backlog WHERE check_at_ms <= $1 ORDER BY check_at_ms LIMIT $2;

-- name: lock_backlog
SELECT check_at_ms FROM backlog WHERE id = $1 AND queue_id IS NOT NULL FOR NO KEY UPDATE;

-- name: set_check_at
UPDATE backlog SET check_at_ms = $2 WHERE id = $1 AND queue_id IS NOT NULL;

-- name: prune_tally
DELETE FROM tally WHERE (backlog, received, bucket_s) IN (
    SELECT backlog, received, bucket_s FROM tally
    WHERE received < 2 AND bucket_s < $1::bigint / 1000 ORDER BY bucket_s LIMIT $2);

-- name: forget_deleted_queues
DELETE FROM deleted_queue WHERE (account_id, region, name) IN (
    SELECT account_id, region, name FROM deleted_queue
    WHERE deleted_at_ms < $1 ORDER BY deleted_at_ms LIMIT $2);

-- name: forget_deduplication
DELETE FROM deduplication WHERE (queue_id, group_id, deduplication_id) IN (
    SELECT queue_id, group_id, deduplication_id FROM deduplication
    WHERE accepted_at_ms <= $1 ORDER BY accepted_at_ms LIMIT $2);

-- name: forget_receive_attempts
DELETE FROM receive_attempt WHERE (queue_id, attempt_id) IN (
    SELECT queue_id, attempt_id FROM receive_attempt
    WHERE attempted_at_ms <= $1 ORDER BY attempted_at_ms LIMIT $2);


-- Dead letters

-- name: exhausted_in_view
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = '\x01'::bytea
FROM (SELECT * FROM message
      WHERE backlog = $1 AND lane = 1 AND visible_at_ms <= $2
      ORDER BY visible_at_ms, sequence LIMIT $3 FOR UPDATE SKIP LOCKED) AS m
JOIN message_body AS b ON b.sequence = m.sequence
ORDER BY m.visible_at_ms, m.sequence;

-- name: exhausted_among
SELECT wanted.backlog FROM unnest($1::bigint[]) AS wanted (backlog)
WHERE EXISTS (SELECT FROM message AS m
              WHERE m.backlog = wanted.backlog AND m.lane = 1 AND m.visible_at_ms <= $2);

-- name: groups_of_exhausted
SELECT DISTINCT b.group_id
FROM (SELECT sequence FROM message
      WHERE backlog = $1 AND lane = 1 AND visible_at_ms <= $2
      ORDER BY visible_at_ms, sequence LIMIT $3) AS m
JOIN message_body AS b ON b.sequence = m.sequence;

-- name: exhausted_backlogs
SELECT DISTINCT e.backlog, b.queue_id
FROM (SELECT backlog FROM message
      WHERE lane = 1 AND visible_at_ms <= $1 ORDER BY visible_at_ms LIMIT $2) AS e
JOIN backlog AS b ON b.id = e.backlog;

-- name: next_exhausted_at
SELECT visible_at_ms FROM message WHERE lane = 1 ORDER BY visible_at_ms LIMIT 1;

-- name: set_exhausted_aside
UPDATE message SET lane = 1
WHERE backlog = $1 AND sequence = ANY (ARRAY(
    SELECT sequence
    FROM (SELECT sequence, receive_count, dead_letter_source FROM message
          WHERE backlog = $1 AND lane = $2 AND visible_at_ms <= $3
          ORDER BY visible_at_ms, sequence LIMIT $4 FOR UPDATE SKIP LOCKED) AS first
    WHERE receive_count >= $5 AND dead_letter_source IS NULL));

-- name: forget_exhausted
UPDATE message SET lane = 0
WHERE backlog = $1 AND sequence = ANY (ARRAY(
    SELECT sequence FROM message
    WHERE backlog = $1 AND lane = 1 AND visible_at_ms <= $2 LIMIT $3 FOR UPDATE SKIP LOCKED));

-- name: bury_messages
UPDATE message AS m
SET backlog = $4, visible_at_ms = $5, lane = 0, dead_letter_source = $6,
    provenance = coalesce(moved.provenance, m.provenance)
FROM unnest($2::bigint[], $3::bytea[]) AS moved (sequence, provenance)
WHERE m.backlog = $1 AND m.sequence = moved.sequence;

-- name: bury_fifo_messages
UPDATE message AS m
SET backlog = $6, sequence = moved.new_sequence, visible_at_ms = $7, lane = 0,
    dead_letter_source = $8,
    group_key = (SELECT key FROM fifo_group AS g
                 WHERE g.backlog = $6 AND g.group_id = moved.group_id),
    provenance = coalesce(moved.provenance, m.provenance)
FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bytea[])
  AS moved (sequence, new_sequence, group_id, provenance)
WHERE m.backlog = $1 AND m.sequence = moved.sequence;

-- name: bury_fifo_bodies
UPDATE message_body AS b
SET sequence = moved.new_sequence, sent_at_ms = $3, deduplication_id = b.message_id
FROM unnest($1::bigint[], $2::bigint[]) AS moved (sequence, new_sequence)
WHERE b.sequence = moved.sequence;

-- name: queues_by_dead_letter_queue
SELECT id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms
FROM queue
WHERE dead_letter_account_id = $1 AND dead_letter_region = $2 AND dead_letter_name = $3
  AND name > $4
ORDER BY name LIMIT $5;


-- Move tasks

-- name: queue_id_by_name
SELECT id FROM queue WHERE account_id = $1 AND region = $2 AND name = $3;

-- name: lock_moves
SELECT pg_advisory_xact_lock(number)
FROM (SELECT DISTINCT hashtextextended(account_id, 3) AS number
      FROM unnest($1::text[]) AS named (account_id) ORDER BY number) AS sorted;

-- name: insert_move
INSERT INTO move_task (task_id, account_id, region, name, destination, messages_per_s, status,
                       started_at_ms, due_at_ms, moved, to_move)
VALUES ($1, $2, $3, $4, $5, $6, 'RUNNING', $7, $7, 0, $8);

-- name: active_move_of
SELECT 1 FROM move_task
WHERE account_id = $1 AND region = $2 AND name = $3 AND status IN ('RUNNING', 'CANCELLING');

-- name: active_moves
SELECT count(*) FROM move_task
WHERE account_id = $1 AND status IN ('RUNNING', 'CANCELLING');

-- name: move_by_id
SELECT task_id, account_id, region, name, destination, messages_per_s, status, started_at_ms,
       moved, to_move, failure
FROM move_task WHERE task_id = $1;

-- name: moves_of
SELECT task_id, account_id, region, name, destination, messages_per_s, status, started_at_ms,
       moved, to_move, failure
FROM move_task
WHERE account_id = $1 AND region = $2 AND name = $3 ORDER BY number DESC LIMIT $4;

-- name: cancel_move
UPDATE move_task SET status = 'CANCELLING', due_at_ms = $2
WHERE task_id = $1 AND status = 'RUNNING';

-- name: moves_due
SELECT number, due_at_ms, task_id, account_id, region, name, destination, messages_per_s, status,
       started_at_ms, moved, to_move, failure
FROM move_task
WHERE status IN ('RUNNING', 'CANCELLING') AND due_at_ms <= $1
ORDER BY due_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED;

-- name: next_move_due_at
SELECT due_at_ms FROM move_task
WHERE status IN ('RUNNING', 'CANCELLING') ORDER BY due_at_ms LIMIT 1;

-- name: advance_move
UPDATE move_task SET moved = moved + $2, due_at_ms = $3 WHERE number = $1;

-- name: finish_move
UPDATE move_task SET moved = moved + $2, status = $3, failure = $4 WHERE number = $1;

-- name: forget_moves
DELETE FROM move_task
WHERE account_id = $1 AND region = $2 AND name = $3 AND status NOT IN ('RUNNING', 'CANCELLING')
  AND number <= (SELECT number FROM move_task
                 WHERE account_id = $1 AND region = $2 AND name = $3
                   AND status NOT IN ('RUNNING', 'CANCELLING')
                 ORDER BY number DESC LIMIT 1 OFFSET $4);

-- name: lanes
WITH RECURSIVE l (lane) AS (
    SELECT min(lane) FROM message WHERE backlog = $1
    UNION ALL
    SELECT (SELECT min(lane) FROM message WHERE backlog = $1 AND lane > l.lane)
    FROM l WHERE l.lane IS NOT NULL)
SELECT lane FROM l WHERE lane IS NOT NULL;

-- name: movable_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = '\x01'::bytea,
       m.dead_letter_source
FROM (SELECT * FROM message
      WHERE backlog = $1 AND lane = $2 AND visible_at_ms <= $3
      ORDER BY visible_at_ms, sequence LIMIT $4 FOR UPDATE SKIP LOCKED) AS m
JOIN message_body AS b ON b.sequence = m.sequence
ORDER BY m.visible_at_ms, m.sequence;

-- name: movable_by_sequence
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = '\x01'::bytea,
       m.dead_letter_source
FROM unnest($2::bigint[]) WITH ORDINALITY AS wanted (sequence, number)
JOIN message AS m ON m.backlog = $1 AND m.sequence = wanted.sequence
JOIN message_body AS b ON b.sequence = m.sequence
ORDER BY wanted.number;

-- name: redrive_messages
UPDATE message AS m
SET backlog = $6, sequence = moved.new_sequence, visible_at_ms = $7, receive_count = 0,
    first_received_at_ms = NULL, lane = 0, dead_letter_source = NULL,
    group_key = (SELECT key FROM fifo_group AS g
                 WHERE g.backlog = $6 AND g.group_id = moved.group_id),
    provenance = coalesce(moved.provenance, m.provenance)
FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bytea[])
  AS moved (sequence, new_sequence, group_id, provenance)
WHERE m.backlog = $1 AND m.sequence = moved.sequence;

-- name: redrive_bodies
UPDATE message_body AS b
SET sequence = moved.new_sequence, sent_at_ms = $4, message_id = moved.message_id
FROM unnest($1::bigint[], $2::bigint[], $3::text[])
  AS moved (sequence, new_sequence, message_id)
WHERE b.sequence = moved.sequence;


-- Records

-- name: record
SELECT version, value FROM record WHERE kind = $1 AND account_id = $2 AND name = $3;

-- name: records_by_prefix
SELECT name, version, value FROM record
WHERE kind = $1 AND account_id = $2
  AND name >= $3 AND name < $3::text || chr(1114111) AND name > $4
ORDER BY name LIMIT $5;

-- name: next_edit
UPDATE meta SET value = value + 1 WHERE name = 'edits' RETURNING value;

-- name: put_record
INSERT INTO record (kind, account_id, name, version, value) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (kind, account_id, name)
DO UPDATE SET version = excluded.version, value = excluded.value;

-- name: delete_record
DELETE FROM record WHERE kind = $1 AND account_id = $2 AND name = $3;
