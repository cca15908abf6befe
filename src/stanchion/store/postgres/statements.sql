-- Every statement of the store, by name; those that SQLite's store has too have its names. Lists
-- come in as arrays, so that statements stay the same whatever the number of items.
--
-- There is one way only to plan each of them, whatever the planner believes about sizes: that is
-- what VACUUM has last seen, which may have been empty queues. OFFSET 0 keeps it from beginning
-- with that table. `= ANY (ARRAY[x])` does so for rows that are changed, where `= x` would let it
-- read all rows in the order of an index. `+ 0` keeps a column from choosing the index. Lanes, and
-- groups that are ready, go by the expression of their index; `backlog =` goes by number or name.

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

-- name: lock_upkeep
SELECT pg_advisory_xact_lock(hashtext(current_schema()), 2);


-- Wake-ups

-- name: notify
SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload;

-- name: listeners
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1;

-- name: queues_in_view
SELECT q.id
FROM unnest($1::bigint[]) AS wanted (id)
CROSS JOIN LATERAL (SELECT * FROM queue WHERE id = wanted.id OFFSET 0) AS q
WHERE CASE WHEN q.is_fifo THEN
    EXISTS (SELECT FROM fifo_group AS g
            WHERE g.backlog * 2 + g.is_returned::integer = q.backlog * 2
              AND g.ready_at_ms <= $2 - q.delay_ms OFFSET 0)
    OR EXISTS (SELECT FROM fifo_group AS g
               WHERE g.backlog * 2 + g.is_returned::integer = q.backlog * 2 + 1
                 AND g.ready_at_ms <= $2 OFFSET 0)
ELSE EXISTS (
    SELECT FROM (SELECT 0 AS lane
                 UNION ALL SELECT lane FROM noisy_tenant WHERE backlog = q.backlog) AS served
    CROSS JOIN LATERAL (
        SELECT FROM message AS m
        WHERE (m.backlog << 32) + m.lane = (q.backlog << 32) + served.lane
          AND m.visible_at_ms <= $2
        LIMIT 1) AS m OFFSET 0)
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
           (SELECT lane FROM noisy_tenant WHERE backlog = q.backlog LIMIT 1) IS NOT NULL
               AS has_noisy_tenants
    FROM unnest($1::bigint[]) AS wanted (id)
    CROSS JOIN LATERAL (SELECT * FROM queue WHERE id = wanted.id OFFSET 0) AS q
    CROSS JOIN LATERAL (SELECT * FROM backlog WHERE id = q.backlog OFFSET 0) AS b) AS q ON true;

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
                   receive_count_max, backlog, created_at_ms, modified_at_ms, change)
VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, $13, $14)
RETURNING id;

-- name: insert_backlog
INSERT INTO backlog (queue_id, check_at_ms) VALUES ($1, $2) RETURNING id;

-- name: set_queue_backlog
UPDATE queue SET backlog = $2 WHERE id = $1;

-- name: update_queue
UPDATE queue
SET version = version + 1, attributes = $3, tags = $4, retention_ms = $5, is_fifo = $6,
    delay_ms = $7, dead_letter_account_id = $8, dead_letter_region = $9, dead_letter_name = $10,
    receive_count_max = $11, modified_at_ms = $12, change = $13
WHERE id = $1 AND version = $2
RETURNING id, account_id, region, name, version, attributes, tags, created_at_ms, modified_at_ms;

-- name: check_backlog_by
UPDATE backlog SET check_at_ms = $2 WHERE id = $1 AND coalesce(check_at_ms, 0) > $2;

-- name: check_backlog_now
UPDATE backlog SET check_at_ms = $2
WHERE id = (SELECT backlog FROM queue WHERE id = $1) AND coalesce(check_at_ms, 0) > $2;

-- name: doom_backlog
UPDATE backlog SET queue_id = NULL, check_at_ms = NULL, doomed_at_ms = $2, drop_at_ms = $2
WHERE id = (SELECT backlog FROM queue WHERE id = $1);

-- name: remember_deleted_queue
INSERT INTO deleted_queue (account_id, region, name, deleted_at_ms, change)
SELECT account_id, region, name, $2, $3 FROM queue WHERE id = $1
ON CONFLICT (account_id, region, name)
DO UPDATE SET deleted_at_ms = excluded.deleted_at_ms, change = excluded.change;

-- name: delete_queue
DELETE FROM queue WHERE id = $1;

-- name: forget_deleted_queue
DELETE FROM deleted_queue WHERE account_id = $1 AND region = $2 AND name = $3;

-- name: queue_purged_at
SELECT purged_at_ms, retention_ms FROM queue WHERE id = $1 FOR UPDATE;

-- name: set_queue_purged_at
UPDATE queue SET purged_at_ms = $2 WHERE id = $1;

-- name: take_changes
UPDATE meta SET value = value + $1 WHERE name = 'queue_changes' RETURNING value;

-- name: queue_changes
SELECT change, account_id, region, name FROM queue WHERE change > $1
UNION ALL
SELECT change, account_id, region, name FROM deleted_queue WHERE change > $1
ORDER BY change LIMIT $2;


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
    WHERE (backlog << 32) + lane = (wanted.backlog << 32) + wanted.lane
      AND visible_at_ms >= wanted.since_ms AND visible_at_ms <= $5
    ORDER BY visible_at_ms, sequence + 0 LIMIT wanted.messages
    FOR UPDATE SKIP LOCKED) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b
WINDOW earlier AS (PARTITION BY wanted.number ORDER BY m.visible_at_ms, m.sequence)
ORDER BY wanted.number, m.visible_at_ms, m.sequence;

-- name: lease_messages
UPDATE message AS m
SET visible_at_ms = taken.visible_at_ms, receive_count = m.receive_count + 1,
    first_received_at_ms = coalesce(m.first_received_at_ms, $5),
    lane = CASE WHEN m.receive_count + 1 >= taken.exhausted_at THEN 1 ELSE m.lane END
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[])
  AS taken (backlog, sequence, visible_at_ms, exhausted_at)
WHERE m.backlog = ANY (ARRAY[taken.backlog]) AND m.sequence = taken.sequence;

-- name: next_visible_at
SELECT wanted.backlog, min(
    (SELECT visible_at_ms FROM message
     WHERE (backlog << 32) + lane = (wanted.backlog << 32) + served.lane
       AND visible_at_ms >= served.since_ms
     ORDER BY visible_at_ms LIMIT 1))
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
  AS wanted (backlog, ordinary_since_ms, exhausted_since_ms)
CROSS JOIN LATERAL (
    SELECT 0 AS lane, wanted.ordinary_since_ms AS since_ms
    UNION ALL SELECT 1, wanted.exhausted_since_ms
    UNION ALL SELECT lane, 0 FROM noisy_tenant WHERE backlog = wanted.backlog) AS served
GROUP BY wanted.backlog;

-- name: messages_by_sequence
SELECT m.*
FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS given (backlog, sequence)
      ORDER BY backlog, sequence) AS wanted
CROSS JOIN LATERAL (
    SELECT sequence, receive_count, visible_at_ms, group_key, backlog FROM message
    WHERE backlog = wanted.backlog AND sequence = wanted.sequence FOR UPDATE) AS m;

-- name: change_visibility
UPDATE message AS m SET visible_at_ms = shown.visible_at_ms
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS shown (backlog, sequence, visible_at_ms)
WHERE m.backlog = ANY (ARRAY[shown.backlog]) AND m.sequence = shown.sequence;

-- name: erase_messages
WITH gone AS (
    DELETE FROM message AS m USING unnest($1::bigint[], $2::bigint[]) AS w (backlog, sequence)
    WHERE m.backlog = ANY (ARRAY[w.backlog]) AND m.sequence = w.sequence
    RETURNING m.sequence)
DELETE FROM message_body WHERE sequence = ANY (ARRAY(SELECT sequence FROM gone));

-- name: oldest_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, b.body_bytes
FROM (SELECT sequence, receive_count, visible_at_ms, group_key FROM message
      WHERE backlog = $1 ORDER BY sequence LIMIT $2) AS m
CROSS JOIN LATERAL (SELECT sent_at_ms, length(body) AS body_bytes FROM message_body
                    WHERE sequence = m.sequence OFFSET 0) AS b
ORDER BY m.sequence;

-- name: lock_free_messages
SELECT m.*
FROM (SELECT * FROM unnest($2::bigint[]) AS given (sequence) ORDER BY sequence) AS wanted
CROSS JOIN LATERAL (
    SELECT sequence, receive_count, visible_at_ms, group_key FROM message
    WHERE backlog = $1 AND sequence = wanted.sequence FOR UPDATE SKIP LOCKED) AS m;


-- Flushes of one statement, which is their whole transaction. $-parameters that come last: the time
-- if somebody decides on it, and what it has been already.

-- name: send_at_once
WITH clock AS MATERIALIZED (
    SELECT coalesce($8::bigint, greatest(
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint, $9::bigint)) AS now_ms),
given AS MATERIALIZED (
    SELECT sent.*, clock.now_ms + sent.delay_ms AS visible_at_ms,
           (SELECT backlog FROM queue WHERE id = sent.queue_id) AS backlog
    FROM clock CROSS JOIN unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                                 $6::bytea[], $7::bytea[])
      AS sent (queue_id, delay_ms, message_id, sender_id, trace_header, attributes, body)),
new AS MATERIALIZED (
    SELECT nextval('message_sequence') AS sequence, given.* FROM given WHERE backlog IS NOT NULL),
hot AS (
    INSERT INTO message (backlog, sequence, visible_at_ms)
    SELECT backlog, sequence, visible_at_ms FROM new),
cold AS (
    INSERT INTO message_body (sequence, sent_at_ms, message_id, sender_id, trace_header,
                              attributes, body)
    SELECT sequence, now_ms, message_id, sender_id, trace_header, attributes, body
    FROM clock CROSS JOIN new),
counted AS (
    INSERT INTO tally_change (backlog, received, bucket_s, messages)
    SELECT backlog, 2, 0, count(*) FROM new GROUP BY backlog
    UNION ALL
    SELECT backlog, 0, (visible_at_ms + 999) / 1000, count(*) FROM clock CROSS JOIN new
    WHERE visible_at_ms > now_ms GROUP BY backlog, (visible_at_ms + 999) / 1000)
SELECT now_ms, ARRAY(SELECT DISTINCT queue_id FROM given WHERE backlog IS NULL) FROM clock;

-- Does nothing, and says so, where it meets what `claim_candidates` and its callers are for.
-- name: claim_at_once
WITH clock AS MATERIALIZED (
    SELECT coalesce($8::bigint, greatest(
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint, $9::bigint)) AS now_ms),
wanted AS MATERIALIZED (
    SELECT w.*, clock.now_ms, clock.now_ms + w.visibility_ms AS hidden_until_ms,
           rules.retention_ms, rules.exhausted_at
    FROM clock
    CROSS JOIN unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                      $6::bigint[])
      WITH ORDINALITY AS w (queue_id, backlog, messages, visibility_ms, since_ms,
                            exhausted_since_ms, number)
    LEFT JOIN LATERAL (
        SELECT q.retention_ms,
               CASE WHEN q.dead_letter_name IS NOT NULL AND
                   (SELECT d.id FROM queue AS d
                    WHERE d.account_id = q.dead_letter_account_id
                      AND d.region = q.dead_letter_region AND d.name = q.dead_letter_name)
                   IS NOT NULL
               THEN q.receive_count_max ELSE 1 << 30 END AS exhausted_at
        FROM queue AS q
        WHERE q.id = w.queue_id AND q.backlog = w.backlog
          AND (SELECT lane FROM noisy_tenant WHERE backlog = w.backlog LIMIT 1) IS NULL
          AND (SELECT sequence FROM message
               WHERE (backlog << 32) + lane = (w.backlog << 32) + 1
                 AND visible_at_ms <= clock.now_ms
                 AND visible_at_ms >= w.exhausted_since_ms LIMIT 1) IS NULL
        OFFSET 0) AS rules ON true),
queues AS MATERIALIZED (SELECT bool_and(retention_ms IS NOT NULL) AS are_plain FROM wanted),
found AS MATERIALIZED (
    SELECT w.number, w.backlog, w.now_ms, w.hidden_until_ms, w.retention_ms, w.exhausted_at,
           m.sequence, m.visible_at_ms, m.receive_count, m.first_received_at_ms,
           m.dead_letter_source, m.provenance, b.sent_at_ms, b.message_id, b.sender_id,
           b.group_id, b.trace_header, b.attributes, b.body
    FROM wanted AS w
    CROSS JOIN LATERAL (
        SELECT sequence, visible_at_ms, receive_count, first_received_at_ms, dead_letter_source,
               provenance
        FROM message
        WHERE (backlog << 32) + lane = w.backlog << 32
          AND visible_at_ms >= w.since_ms AND visible_at_ms <= w.now_ms
        ORDER BY visible_at_ms, sequence + 0
        LIMIT CASE WHEN (SELECT are_plain FROM queues) THEN w.messages ELSE 0 END
        FOR UPDATE SKIP LOCKED) AS m
    CROSS JOIN LATERAL (
        SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b),
messages AS MATERIALIZED (
    SELECT coalesce(sum(octet_length(body)), 0) <= $7
           AND count(*) FILTER (
               WHERE sent_at_ms <= now_ms - retention_ms OR group_id IS NOT NULL
                  OR (receive_count >= exhausted_at AND dead_letter_source IS NULL)) = 0
           AND (SELECT are_plain FROM queues) AS are_plain
    FROM found),
leased AS (
    UPDATE message AS m
    SET visible_at_ms = f.hidden_until_ms, receive_count = m.receive_count + 1,
        first_received_at_ms = coalesce(m.first_received_at_ms, f.now_ms),
        lane = CASE WHEN m.receive_count + 1 >= f.exhausted_at THEN 1 ELSE 0 END
    FROM found AS f
    WHERE (SELECT are_plain FROM messages)
      AND m.backlog = ANY (ARRAY[f.backlog]) AND m.sequence = f.sequence),
counted AS (
    INSERT INTO tally_change (backlog, received, bucket_s, messages)
    SELECT backlog, 1, (hidden_until_ms + 999) / 1000, count(*) FROM found
    WHERE (SELECT are_plain FROM messages) AND hidden_until_ms > now_ms
    GROUP BY backlog, (hidden_until_ms + 999) / 1000)
SELECT f.sequence, f.receive_count, f.first_received_at_ms, f.sent_at_ms, f.message_id,
       f.sender_id, f.group_id, f.trace_header, f.attributes, f.body, f.dead_letter_source,
       f.provenance, f.number, f.visible_at_ms, clock.now_ms, messages.are_plain
FROM clock CROSS JOIN messages LEFT JOIN found AS f ON messages.are_plain
ORDER BY f.number, f.visible_at_ms, f.sequence;

-- name: delete_at_once
WITH clock AS MATERIALIZED (
    SELECT coalesce($4::bigint, greatest(
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint, $5::bigint)) AS now_ms),
wanted AS MATERIALIZED (
    SELECT w.*, (SELECT backlog FROM queue WHERE id = w.queue_id) AS backlog
    FROM unnest($1::bigint[], $2::bigint[], $3::integer[])
      WITH ORDINALITY AS w (queue_id, sequence, receive_count, number)),
held AS MATERIALIZED (
    SELECT w.number, m.*, m.receive_count = w.receive_count AS is_current
    FROM (SELECT * FROM wanted ORDER BY backlog, sequence) AS w
    CROSS JOIN LATERAL (
        SELECT backlog, sequence, receive_count, visible_at_ms FROM message
        WHERE backlog = w.backlog AND sequence = w.sequence FOR UPDATE) AS m),
hot AS (
    DELETE FROM message AS m USING held AS h
    WHERE h.is_current AND m.backlog = ANY (ARRAY[h.backlog]) AND m.sequence = h.sequence),
cold AS (
    DELETE FROM message_body
    WHERE sequence = ANY (ARRAY(SELECT sequence FROM held WHERE is_current))),
counted AS (
    INSERT INTO tally_change (backlog, received, bucket_s, messages)
    SELECT backlog, 2, 0, -count(*) FROM held WHERE is_current GROUP BY backlog
    UNION ALL
    SELECT backlog, 1, (visible_at_ms + 999) / 1000, -count(*) FROM clock CROSS JOIN held
    WHERE is_current AND visible_at_ms > now_ms GROUP BY backlog, (visible_at_ms + 999) / 1000)
SELECT clock.now_ms, ARRAY(SELECT DISTINCT queue_id FROM wanted WHERE backlog IS NULL),
       h.number, h.is_current
FROM clock LEFT JOIN held AS h ON true;


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
CROSS JOIN LATERAL (SELECT * FROM message
                    WHERE backlog = wanted.backlog AND sequence = wanted.sequence OFFSET 0) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b
WINDOW earlier AS (PARTITION BY wanted.backlog ORDER BY wanted.number)
ORDER BY wanted.number;

-- name: accepted
SELECT d.queue_id, d.group_id, d.deduplication_id, d.accepted_at_ms, d.message_id, d.sequence
FROM unnest($1::bigint[], $2::text[], $3::text[])
  AS wanted (queue_id, group_id, deduplication_id)
CROSS JOIN LATERAL (
    SELECT * FROM deduplication
    WHERE queue_id = wanted.queue_id AND group_id = wanted.group_id
      AND deduplication_id = wanted.deduplication_id OFFSET 0) AS d;

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
CROSS JOIN LATERAL (
    SELECT * FROM receive_attempt
    WHERE queue_id = named.queue_id AND attempt_id = named.attempt_id OFFSET 0) AS a;

-- name: receive_attempt
SELECT attempted_at_ms, leases FROM receive_attempt
WHERE queue_id = $1 AND attempt_id = $2 AND attempted_at_ms + 0 > $3;

-- name: remember_attempt
INSERT INTO receive_attempt (queue_id, attempt_id, attempted_at_ms, leases)
VALUES ($1, $2, $3, $4)
ON CONFLICT (queue_id, attempt_id)
DO UPDATE SET attempted_at_ms = excluded.attempted_at_ms, leases = excluded.leases;

-- name: renew_attempt
UPDATE receive_attempt SET leases = $3 WHERE queue_id = $1 AND attempt_id = $2;

-- name: ready_groups
SELECT wanted.number, g.key, g.ready_at_ms, wanted.is_returned
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::bigint[], $5::bigint[])
     WITH ORDINALITY AS wanted (backlog, is_returned, until_ms, groups, since_ms, number)
CROSS JOIN LATERAL (
    SELECT key, ready_at_ms FROM fifo_group
    WHERE backlog * 2 + is_returned::integer = wanted.backlog * 2 + wanted.is_returned::integer
      AND ready_at_ms >= wanted.since_ms AND ready_at_ms <= wanted.until_ms
      AND key <> ALL ($6::bigint[])
    ORDER BY ready_at_ms, key + 0 LIMIT wanted.groups
    FOR UPDATE SKIP LOCKED) AS g;

-- name: first_messages
SELECT wanted.key, m.sequence, m.receive_count, m.visible_at_ms
FROM unnest($1::bigint[], $2::bigint[]) AS wanted (key, messages)
CROSS JOIN LATERAL (
    SELECT sequence, receive_count, visible_at_ms FROM message
    WHERE group_key = wanted.key
    ORDER BY sequence LIMIT wanted.messages) AS m
ORDER BY m.sequence;

-- name: next_ready_at
SELECT (SELECT ready_at_ms FROM fifo_group
        WHERE backlog * 2 + is_returned::integer = wanted.backlog * 2
          AND ready_at_ms >= wanted.fresh_since_ms
        ORDER BY ready_at_ms LIMIT 1),
       (SELECT ready_at_ms FROM fifo_group
        WHERE backlog * 2 + is_returned::integer = wanted.backlog * 2 + 1
          AND ready_at_ms >= wanted.returned_since_ms
        ORDER BY ready_at_ms LIMIT 1)
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
     WITH ORDINALITY AS wanted (backlog, fresh_since_ms, returned_since_ms, number)
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
WHERE g.key = ANY (ARRAY(
    SELECT m.group_key FROM unnest($1::bigint[], $2::bigint[]) AS wanted (backlog, sequence)
    CROSS JOIN LATERAL (
        SELECT group_key FROM message
        WHERE backlog = wanted.backlog AND sequence = wanted.sequence OFFSET 0) AS m))
ORDER BY g.backlog + 0, g.group_id FOR UPDATE OF g;

-- name: try_groups_of
SELECT g.key FROM fifo_group AS g
WHERE g.key = ANY (ARRAY(
    SELECT m.group_key FROM unnest($2::bigint[]) AS wanted (sequence)
    CROSS JOIN LATERAL (SELECT group_key FROM message
                        WHERE backlog = $1 AND sequence = wanted.sequence OFFSET 0) AS m))
FOR UPDATE OF g SKIP LOCKED;

-- name: try_groups_named
SELECT g.backlog, g.group_id, g.key
FROM unnest($1::bigint[], $2::text[]) AS named (backlog, group_id)
CROSS JOIN LATERAL (
    SELECT backlog, group_id, key FROM fifo_group
    WHERE backlog = named.backlog AND group_id = named.group_id FOR UPDATE SKIP LOCKED) AS g;

-- name: groups_named
SELECT g.backlog, g.group_id
FROM unnest($1::bigint[], $2::text[]) AS named (backlog, group_id)
CROSS JOIN LATERAL (
    SELECT backlog, group_id FROM fifo_group
    WHERE backlog = named.backlog AND group_id = named.group_id OFFSET 0) AS g;

-- name: keys_of_groups
SELECT g.key FROM unnest($2::text[]) AS wanted (group_id)
CROSS JOIN LATERAL (SELECT key FROM fifo_group
                    WHERE backlog = $1 AND group_id = wanted.group_id OFFSET 0) AS g;

-- name: block_groups
UPDATE fifo_group AS g SET is_returned = true, ready_at_ms = blocked.ready_at_ms
FROM unnest($1::bigint[], $2::bigint[]) AS blocked (key, ready_at_ms)
WHERE g.key = ANY (ARRAY[blocked.key]);

-- name: group_states
SELECT wanted.number, g.key, g.is_returned, g.ready_at_ms, m.receive_count > 0,
       CASE WHEN m.receive_count = 0 THEN m.visible_at_ms ELSE
           (SELECT max(visible_at_ms) FILTER (WHERE receive_count > 0)
            FROM (SELECT receive_count, visible_at_ms FROM message
                  WHERE group_key = g.key ORDER BY sequence LIMIT $3)
              AS firsts) END
FROM unnest($1::bigint[], $2::bigint[]) AS wanted (number, key)
CROSS JOIN LATERAL (SELECT * FROM fifo_group WHERE key = wanted.key OFFSET 0) AS g
LEFT JOIN LATERAL (
    SELECT receive_count, visible_at_ms FROM message
    WHERE group_key = g.key ORDER BY sequence LIMIT 1) AS m ON true;

-- name: set_group_states
UPDATE fifo_group AS g SET is_returned = new.is_returned, ready_at_ms = new.ready_at_ms
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[]) AS new (key, is_returned, ready_at_ms)
WHERE g.key = ANY (ARRAY[new.key]);

-- name: close_groups
DELETE FROM fifo_group WHERE key = ANY ($1::bigint[]);

-- name: drop_groups
DELETE FROM fifo_group
WHERE key = ANY (ARRAY(SELECT key FROM fifo_group WHERE backlog = $1 LIMIT $2));


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
      WHERE (backlog << 32) + lane = $1::bigint << 32 AND visible_at_ms <= $2
      ORDER BY visible_at_ms, sequence + 0 LIMIT $3 FOR UPDATE SKIP LOCKED) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b
ORDER BY m.visible_at_ms, m.sequence;

-- name: groups_by_sequence
SELECT sequence, group_id FROM message_body WHERE sequence = ANY ($1::bigint[]);

-- name: set_lane
UPDATE message AS m SET lane = $2
FROM (SELECT $1::bigint AS backlog, sequence FROM unnest($3::bigint[]) AS sequence OFFSET 0) AS w
WHERE m.backlog = ANY (ARRAY[w.backlog]) AND m.sequence = w.sequence;

-- name: empty_lane
WITH found AS MATERIALIZED (
    SELECT $1::bigint AS backlog, sequence FROM message
    WHERE (backlog << 32) + lane = ($1::bigint << 32) + $2::integer
    ORDER BY visible_at_ms, sequence + 0 LIMIT $3
    FOR UPDATE SKIP LOCKED)
UPDATE message AS m SET lane = 0 FROM found AS f
WHERE m.backlog = ANY (ARRAY[f.backlog]) AND m.sequence = f.sequence;

-- name: is_lane_used
SELECT FROM message WHERE (backlog << 32) + lane = ($1::bigint << 32) + $2::integer LIMIT 1;


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
    WHERE (backlog << 32) + lane = ($1::bigint << 32) + served.lane
      AND visible_at_ms > $2 AND visible_at_ms <= $3
    LIMIT $4) AS m
LIMIT $4;

-- A second whose sum is zero needs no row: it may be hours until it has passed.
-- name: sum_up_tally
WITH taken AS (
    DELETE FROM tally_change
    WHERE number = ANY (ARRAY(
        SELECT number FROM tally_change WHERE number >= $2 ORDER BY number LIMIT $1))
    RETURNING number, backlog, received, bucket_s, messages),
changes AS MATERIALIZED (
    SELECT backlog, received, bucket_s, sum(messages)::bigint AS messages FROM taken
    GROUP BY backlog, received, bucket_s),
emptied AS MATERIALIZED (
    SELECT c.* FROM changes AS c
    WHERE c.received < 2 AND c.messages + coalesce(
        (SELECT t.messages FROM tally AS t
         WHERE t.backlog = c.backlog AND t.received = c.received AND t.bucket_s = c.bucket_s),
        0) = 0),
removed AS (
    DELETE FROM tally AS t USING emptied AS e
    WHERE t.backlog = ANY (ARRAY[e.backlog]) AND t.received = e.received
      AND t.bucket_s = e.bucket_s),
added AS (
    INSERT INTO tally (backlog, received, bucket_s, messages)
    SELECT * FROM changes EXCEPT SELECT * FROM emptied
    ON CONFLICT (backlog, received, bucket_s)
    DO UPDATE SET messages = tally.messages + excluded.messages)
SELECT count(*), min(number) FROM taken;


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
DELETE FROM tally WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM tally
    WHERE received <> 2 AND bucket_s + 0 < $1::bigint / 1000 ORDER BY bucket_s + 0 LIMIT $2));

-- name: forget_deleted_queues
DELETE FROM deleted_queue WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM deleted_queue WHERE deleted_at_ms < $1 ORDER BY deleted_at_ms LIMIT $2))
  AND deleted_at_ms + 0 < $1;

-- name: forget_deduplication
DELETE FROM deduplication WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM deduplication WHERE accepted_at_ms <= $1 ORDER BY accepted_at_ms LIMIT $2))
  AND accepted_at_ms + 0 <= $1;

-- name: forget_receive_attempts
DELETE FROM receive_attempt WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM receive_attempt WHERE attempted_at_ms <= $1 ORDER BY attempted_at_ms LIMIT $2))
  AND attempted_at_ms + 0 <= $1;


-- Dead letters

-- name: exhausted_in_view
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = '\x01'::bytea
FROM (SELECT * FROM message
      WHERE (backlog << 32) + lane = ($1::bigint << 32) + 1 AND visible_at_ms <= $2
      ORDER BY visible_at_ms, sequence + 0 LIMIT $3 FOR UPDATE SKIP LOCKED) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b
ORDER BY m.visible_at_ms, m.sequence;

-- name: exhausted_among
SELECT wanted.backlog FROM unnest($1::bigint[]) AS wanted (backlog)
WHERE EXISTS (SELECT FROM message AS m
              WHERE (m.backlog << 32) + m.lane = (wanted.backlog << 32) + 1
                AND m.visible_at_ms <= $2 OFFSET 0);

-- name: groups_of_exhausted
SELECT DISTINCT b.group_id
FROM (SELECT sequence FROM message
      WHERE (backlog << 32) + lane = ($1::bigint << 32) + 1 AND visible_at_ms <= $2
      ORDER BY visible_at_ms, sequence + 0 LIMIT $3) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b;

-- name: exhausted_backlogs
SELECT DISTINCT e.backlog, b.queue_id
FROM (SELECT backlog FROM message
      WHERE lane = 1 AND visible_at_ms <= $1 ORDER BY visible_at_ms LIMIT $2) AS e
CROSS JOIN LATERAL (SELECT queue_id FROM backlog WHERE id = e.backlog OFFSET 0) AS b;

-- name: next_exhausted_at
SELECT visible_at_ms FROM message WHERE lane = 1 ORDER BY visible_at_ms LIMIT 1;

-- name: set_exhausted_aside
WITH found AS MATERIALIZED (
    SELECT $1::bigint AS backlog, sequence
    FROM (SELECT sequence, receive_count, dead_letter_source FROM message
          WHERE (backlog << 32) + lane = ($1::bigint << 32) + $2::integer AND visible_at_ms <= $3
          ORDER BY visible_at_ms, sequence + 0 LIMIT $4 FOR UPDATE SKIP LOCKED) AS first
    WHERE receive_count >= $5 AND dead_letter_source IS NULL)
UPDATE message AS m SET lane = 1 FROM found AS f
WHERE m.backlog = ANY (ARRAY[f.backlog]) AND m.sequence = f.sequence;

-- name: forget_exhausted
WITH found AS MATERIALIZED (
    SELECT $1::bigint AS backlog, sequence FROM message
    WHERE (backlog << 32) + lane = ($1::bigint << 32) + 1 AND visible_at_ms <= $2
    ORDER BY visible_at_ms LIMIT $3 FOR UPDATE SKIP LOCKED)
UPDATE message AS m SET lane = 0 FROM found AS f
WHERE m.backlog = ANY (ARRAY[f.backlog]) AND m.sequence = f.sequence;

-- name: still_queues
SELECT q.id FROM queue AS q
WHERE q.id = ANY ($1::bigint[])
  AND (q.is_still OR (SELECT p.id FROM queue_part AS p
                      WHERE p.id = q.id AND p.shard = 0 AND p.state = 'arriving') IS NOT NULL);

-- name: bury_messages
UPDATE message AS m
SET backlog = $4, visible_at_ms = $5, lane = 0, dead_letter_source = $6,
    provenance = coalesce(moved.provenance, m.provenance)
FROM (SELECT $1::bigint AS backlog, * FROM unnest($2::bigint[], $3::bytea[])
      AS given (sequence, provenance) OFFSET 0) AS moved
WHERE m.backlog = ANY (ARRAY[moved.backlog]) AND m.sequence = moved.sequence;

-- name: bury_fifo_messages
UPDATE message AS m
SET backlog = $6, sequence = moved.new_sequence, visible_at_ms = $7, lane = 0,
    dead_letter_source = $8,
    group_key = (SELECT key FROM fifo_group AS g
                 WHERE g.backlog = $6 AND g.group_id = moved.group_id),
    provenance = coalesce(moved.provenance, m.provenance)
FROM (SELECT $1::bigint AS backlog, *
      FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bytea[])
        AS given (sequence, new_sequence, group_id, provenance) OFFSET 0) AS moved
WHERE m.backlog = ANY (ARRAY[moved.backlog]) AND m.sequence = moved.sequence;

-- name: bury_fifo_bodies
UPDATE message_body AS b
SET sequence = moved.new_sequence, sent_at_ms = $3, deduplication_id = b.message_id
FROM unnest($1::bigint[], $2::bigint[]) AS moved (sequence, new_sequence)
WHERE b.sequence = ANY (ARRAY[moved.sequence]);

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
    (SELECT lane FROM message
     WHERE (backlog << 32) + lane >= $1::bigint << 32
       AND (backlog << 32) + lane < ($1::bigint << 32) + (1::bigint << 31)
     ORDER BY (backlog << 32) + lane LIMIT 1)
    UNION ALL
    SELECT (SELECT lane FROM message
            WHERE (backlog << 32) + lane > ($1::bigint << 32) + l.lane
              AND (backlog << 32) + lane < ($1::bigint << 32) + (1::bigint << 31)
            ORDER BY (backlog << 32) + lane LIMIT 1)
    FROM l WHERE l.lane IS NOT NULL)
SELECT lane FROM l WHERE lane IS NOT NULL;

-- name: movable_messages
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = '\x01'::bytea,
       m.dead_letter_source
FROM (SELECT * FROM message
      WHERE (backlog << 32) + lane = ($1::bigint << 32) + $2::integer AND visible_at_ms <= $3
      ORDER BY visible_at_ms, sequence + 0 LIMIT $4 FOR UPDATE SKIP LOCKED) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b
ORDER BY m.visible_at_ms, m.sequence;

-- name: movable_by_sequence
SELECT m.sequence, m.receive_count, m.visible_at_ms, m.group_key, b.sent_at_ms, length(b.body),
       b.group_id, b.message_id, m.provenance, substr(b.body, 1, 1) = '\x01'::bytea,
       m.dead_letter_source
FROM unnest($2::bigint[]) WITH ORDINALITY AS wanted (sequence, number)
CROSS JOIN LATERAL (SELECT * FROM message
                    WHERE backlog = $1 AND sequence = wanted.sequence OFFSET 0) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b
ORDER BY wanted.number;

-- name: redrive_messages
UPDATE message AS m
SET backlog = $6, sequence = moved.new_sequence, visible_at_ms = $7, receive_count = 0,
    first_received_at_ms = NULL, lane = 0, dead_letter_source = NULL,
    group_key = (SELECT key FROM fifo_group AS g
                 WHERE g.backlog = $6 AND g.group_id = moved.group_id),
    provenance = coalesce(moved.provenance, m.provenance)
FROM (SELECT $1::bigint AS backlog, *
      FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bytea[])
        AS given (sequence, new_sequence, group_id, provenance) OFFSET 0) AS moved
WHERE m.backlog = ANY (ARRAY[moved.backlog]) AND m.sequence = moved.sequence;

-- name: redrive_bodies
UPDATE message_body AS b
SET sequence = moved.new_sequence, sent_at_ms = $4, message_id = moved.message_id
FROM unnest($1::bigint[], $2::bigint[], $3::text[])
  AS moved (sequence, new_sequence, message_id)
WHERE b.sequence = ANY (ARRAY[moved.sequence]);


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


-- Shards: at the home

-- name: shard_identity
SELECT home_id, number, generation FROM shard_identity;

-- name: set_shard_identity
WITH former AS (DELETE FROM shard_identity)
INSERT INTO shard_identity (home_id, number, generation) VALUES ($1, $2, $3);

-- name: shard_numbers
SELECT name, number, generation FROM shard;

-- name: next_shard_generation
UPDATE meta SET value = value + 1 WHERE name = 'shards_joined' RETURNING value;

-- name: shards
SELECT s.number, s.name, s.state,
       CASE WHEN s.number > 0 THEN
           (SELECT count(*) FROM queue_part AS p WHERE p.shard = s.number)
       ELSE (SELECT count(*) FROM queue)
            - (SELECT count(DISTINCT queue_id) FROM queue_part)
            + (SELECT count(*) FROM queue_part AS p WHERE p.shard = 0) END
FROM shard AS s ORDER BY s.number;

-- name: nodes
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database()
  AND application_name = left('stanchion wakes ' || current_schema(), 63);

-- name: shard_messages
SELECT coalesce(sum(counted.messages), 0)::bigint
FROM (SELECT backlog, messages FROM tally WHERE received = 2
      UNION ALL SELECT backlog, messages FROM tally_change WHERE received = 2) AS counted
JOIN backlog AS b ON b.id = counted.backlog WHERE b.queue_id IS NOT NULL;

-- name: insert_shard
INSERT INTO shard (number, name, state, generation) VALUES ($1, $2, $3, $4);

-- name: set_shard_state
UPDATE shard SET state = $2 WHERE name = $1 AND state = ANY ($3::text[]);

-- name: remove_shard
DELETE FROM shard AS s
WHERE s.name = $1 AND s.state IN ('joining', 'drained')
  AND NOT EXISTS (SELECT FROM queue_part AS p WHERE p.shard = s.number)
  AND NOT EXISTS (SELECT FROM dropped_part AS d WHERE d.shard = s.number);

-- name: queue_rules
SELECT account_id, region, name, version, retention_ms, is_fifo, delay_ms,
       dead_letter_account_id, dead_letter_region, dead_letter_name, receive_count_max
FROM queue WHERE id = $1;

-- name: lock_queue
SELECT id FROM queue WHERE id = $1 FOR NO KEY UPDATE;

-- name: parts
SELECT id, shard, state, slots, heir FROM queue_part WHERE queue_id = $1 ORDER BY shard;

-- name: next_placement_change
UPDATE meta SET value = value + 1 WHERE name = 'placements' RETURNING value;

-- name: insert_part
INSERT INTO queue_part (id, queue_id, shard, state, slots, is_told, change)
VALUES (CASE WHEN $2::integer = 0 THEN $1 ELSE nextval('queue_id_seq') END,
        $1::bigint, $2, $3, $4::integer[], $2 = 0, $5)
ON CONFLICT (queue_id, shard) DO NOTHING;

-- name: untell_parts
UPDATE queue_part SET is_told = false WHERE queue_id = $1 AND shard > 0;

-- name: note_told
UPDATE queue_part AS p SET is_told = true
WHERE id = $1 AND state = $3 AND (SELECT version FROM queue WHERE id = p.queue_id) = $2;

-- name: untold_queues
SELECT queue_id FROM queue_part WHERE NOT is_told AND shard = $1 ORDER BY queue_id LIMIT $2;

-- name: purge_parts
UPDATE queue_part
SET id = CASE WHEN shard > 0 THEN nextval('queue_id_seq') ELSE id END,
    state = 'open', heir = NULL, is_told = shard = 0, change = $2
WHERE queue_id = $1;

-- name: drop_passing_parts
WITH gone AS (
    DELETE FROM queue_part
    WHERE queue_id = $1 AND state IN ('leaving', 'arriving')
    RETURNING id, shard, queue_id)
INSERT INTO dropped_part (id, shard, queue_id)
SELECT id, shard, queue_id FROM gone WHERE shard > 0;

-- name: drop_parts
WITH gone AS (DELETE FROM queue_part WHERE queue_id = $1 RETURNING id, shard, queue_id)
INSERT INTO dropped_part (id, shard, queue_id)
SELECT id, shard, queue_id FROM gone WHERE shard > 0;

-- name: dropped_parts
SELECT shard, id, queue_id FROM dropped_part WHERE shard = $1 ORDER BY id LIMIT $2;

-- name: forget_dropped_part
DELETE FROM dropped_part WHERE id = $1;

-- name: changed_placements
SELECT queue_id, change FROM queue_part WHERE change > $1 ORDER BY change LIMIT $2;

-- name: parts_of_shard
SELECT queue_id FROM queue_part WHERE shard = $1 AND state = ANY ($2::text[]) LIMIT $3;

-- name: retire_part
UPDATE queue_part
SET id = nextval('queue_id_seq'), state = $3, is_told = true, change = $4, heir = $5
WHERE queue_id = $1 AND shard = $2 AND state = 'open' AND is_told;

-- name: renew_arriving_part
UPDATE queue_part SET id = nextval('queue_id_seq'), change = $2
WHERE queue_id = $1 AND shard > 0 AND state = 'arriving';

-- name: lock_part
SELECT 1 FROM queue_part WHERE id = $1 FOR UPDATE;

-- name: is_arriving_here
SELECT 1 FROM queue_part WHERE id = $1 AND shard = 0 AND state = 'arriving' FOR SHARE;

-- name: is_leaving
SELECT 1 FROM queue_part WHERE id = $1 AND state = 'leaving' FOR SHARE;

-- name: lease_mover
UPDATE meta SET value = $1
WHERE name = 'mover_until_ms' AND (value < $2 OR value = $3) RETURNING value;

-- name: drop_part_of_queue
WITH gone AS (DELETE FROM queue_part WHERE id = $1 RETURNING id, shard, queue_id, slots),
     dropped AS (INSERT INTO dropped_part (id, shard, queue_id)
                 SELECT id, shard, queue_id FROM gone)
SELECT slots FROM gone;

-- name: inherit_slots
UPDATE queue_part
SET slots = slots || $2::integer[], state = 'open', change = $3,
    is_told = is_told AND (state <> 'arriving' OR shard = 0)
WHERE id = $1;


-- Shards: on each of them

-- name: start_message_sequence
SELECT setval('message_sequence', $1, false);

-- name: any_queue
SELECT 1 FROM queue LIMIT 1;

-- name: id_of_name
SELECT id, home_queue_id FROM queue
WHERE account_id = $1 AND region = $2 AND name = $3 FOR UPDATE;

-- name: ids_of_home_queue
SELECT id FROM queue WHERE home_queue_id = $1 ORDER BY id FOR UPDATE;

-- name: insert_adopted_queue
INSERT INTO queue (id, account_id, region, name, version, attributes, tags, retention_ms, is_fifo,
                   delay_ms, dead_letter_account_id, dead_letter_region, dead_letter_name,
                   receive_count_max, backlog, created_at_ms, modified_at_ms, home_queue_id,
                   is_still)
VALUES ($1, $2, $3, $4, $5, '{}', '{}', $6, $7, $8, $9, $10, $11, $12, 0, $13, $13, $14, $15);

-- name: update_adopted_queue
UPDATE queue
SET version = $2, retention_ms = $3, is_fifo = $4, delay_ms = $5, dead_letter_account_id = $6,
    dead_letter_region = $7, dead_letter_name = $8, receive_count_max = $9, modified_at_ms = $10
WHERE id = $1 AND version < $2;

-- name: release_part
UPDATE queue SET is_still = false WHERE id = $1 AND is_still;

-- name: is_past_part
SELECT 1 FROM past_part WHERE home_queue_id = $1 AND id >= $2 LIMIT 1;

-- name: insert_past_part
INSERT INTO past_part (home_queue_id, id, dropped_at_ms) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING;

-- name: forget_past_parts
DELETE FROM past_part WHERE (home_queue_id, id) IN (
    SELECT home_queue_id, id FROM past_part
    WHERE dropped_at_ms < $1 ORDER BY dropped_at_ms LIMIT $2);

-- name: rename_queue
WITH renamed AS (
    UPDATE queue SET id = $2 WHERE id = $1 RETURNING backlog)
UPDATE backlog SET queue_id = $2 WHERE id = (SELECT backlog FROM renamed);

-- name: any_message_of
SELECT 1 FROM message WHERE backlog = (SELECT backlog FROM queue WHERE id = $1) LIMIT 1;

-- name: take_name
UPDATE queue SET name = '#' || id WHERE id = $1;

-- name: freeze_part
UPDATE queue SET name = '#' || id, is_still = true WHERE id = $1;

-- name: rename_deduplication
UPDATE deduplication SET queue_id = $2 WHERE queue_id = $1;

-- name: rename_attempts
UPDATE receive_attempt SET queue_id = $2 WHERE queue_id = $1;

-- name: messages_in_transit
SELECT m.sequence, m.lane, m.visible_at_ms, m.receive_count, m.first_received_at_ms,
       m.dead_letter_source, m.provenance, b.sent_at_ms, b.message_id, b.sender_id, b.group_id,
       b.deduplication_id, b.trace_header, b.attributes, b.body
FROM (SELECT * FROM message
      WHERE (backlog << 32) + lane = ANY (ARRAY(
          SELECT ($1::bigint << 32) + lane FROM unnest($2::integer[]) AS lane))
      ORDER BY sequence LIMIT $3) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b
ORDER BY m.sequence;

-- name: take_out_of_view
WITH free AS (
    SELECT sequence FROM message
    WHERE (backlog << 32) + lane = ($1::bigint << 32) + $2::integer AND visible_at_ms <= $3
    ORDER BY visible_at_ms, sequence + 0 LIMIT $4 FOR UPDATE SKIP LOCKED),
sized AS (
    SELECT $1 AS backlog, f.sequence, sum(octet_length(b.body)) OVER (ORDER BY f.sequence)
                       - octet_length(b.body) AS before_bytes
    FROM free AS f
    CROSS JOIN LATERAL (
        SELECT body FROM message_body WHERE sequence = f.sequence OFFSET 0) AS b)
UPDATE message AS m SET lane = -1 FROM sized AS s
WHERE m.backlog = ANY (ARRAY[s.backlog]) AND m.sequence = s.sequence AND s.before_bytes < $5;

-- name: staged_messages
SELECT sequence FROM message
WHERE (backlog << 32) + lane = ($1::bigint << 32) - 1 ORDER BY sequence;

-- name: bodies_there
SELECT sequence FROM message_body WHERE sequence = ANY ($1::bigint[]);

-- name: messages_there
SELECT m.sequence FROM unnest($2::bigint[]) AS wanted (sequence)
CROSS JOIN LATERAL (SELECT sequence FROM message
                    WHERE backlog = $1 AND sequence = wanted.sequence OFFSET 0) AS m;

-- name: doomed_among
SELECT m.backlog, m.sequence
FROM (SELECT id FROM backlog WHERE queue_id IS NULL AND drop_at_ms IS NOT NULL OFFSET 0) AS b
CROSS JOIN unnest($1::bigint[]) AS wanted (sequence)
CROSS JOIN LATERAL (SELECT backlog, sequence FROM message
                    WHERE backlog = b.id AND sequence = wanted.sequence OFFSET 0) AS m;

-- name: insert_moved_messages
INSERT INTO message (backlog, sequence, lane, visible_at_ms, receive_count, first_received_at_ms,
                     dead_letter_source, provenance, group_key)
SELECT $1, sequence, lane, visible_at_ms, receive_count, first_received_at_ms,
       dead_letter_source, provenance,
       (SELECT key FROM fifo_group AS g WHERE g.backlog = $1 AND g.group_id = moved.group_id)
FROM unnest($2::bigint[], $3::integer[], $4::bigint[], $5::integer[], $6::bigint[], $7::text[],
            $8::bytea[], $9::text[])
  AS moved (sequence, lane, visible_at_ms, receive_count, first_received_at_ms,
            dead_letter_source, provenance, group_id);

-- name: insert_moved_bodies
INSERT INTO message_body (sequence, sent_at_ms, message_id, sender_id, group_id,
                          deduplication_id, trace_header, attributes, body)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::text[], $8::bytea[], $9::bytea[]);

-- name: mark_moved
UPDATE message AS m SET lane = -2
FROM (SELECT $1::bigint AS backlog, sequence FROM unnest($2::bigint[]) AS sequence OFFSET 0) AS w
WHERE m.backlog = ANY (ARRAY[w.backlog]) AND m.sequence = w.sequence AND m.lane = -1;

-- name: marked_as_moved
SELECT m.sequence FROM unnest($2::bigint[]) AS wanted (sequence)
CROSS JOIN LATERAL (SELECT sequence FROM message
                    WHERE backlog = $1 AND sequence = wanted.sequence AND lane = -2 OFFSET 0) AS m;

-- name: show_staged
UPDATE message AS m SET lane = 0
FROM (SELECT $1::bigint AS backlog, sequence FROM unnest($2::bigint[]) AS sequence OFFSET 0) AS w
WHERE m.backlog = ANY (ARRAY[w.backlog]) AND m.sequence = w.sequence AND m.lane = -1;

-- name: lock_in_lane
SELECT m.*
FROM (SELECT * FROM unnest($2::bigint[]) AS given (sequence) ORDER BY sequence) AS wanted
CROSS JOIN LATERAL (
    SELECT sequence, receive_count, visible_at_ms, group_key FROM message
    WHERE backlog = $1 AND sequence = wanted.sequence AND lane = $3 FOR UPDATE) AS m;

-- name: fifo_part_messages
SELECT m.sequence, m.lane, m.visible_at_ms, m.receive_count, m.first_received_at_ms,
       m.dead_letter_source, m.provenance, b.sent_at_ms, b.message_id, b.sender_id, b.group_id,
       b.deduplication_id, b.trace_header, b.attributes, b.body
FROM (SELECT * FROM message WHERE backlog = $1 AND sequence > $2 ORDER BY sequence LIMIT $3) AS m
CROSS JOIN LATERAL (SELECT * FROM message_body WHERE sequence = m.sequence OFFSET 0) AS b
ORDER BY m.sequence;

-- name: deduplication_of_queue
SELECT group_id, deduplication_id, accepted_at_ms, message_id, sequence
FROM deduplication WHERE queue_id = $1 AND accepted_at_ms + 0 > $2;

-- name: attempts_of_queue
SELECT attempt_id, attempted_at_ms, leases FROM receive_attempt
WHERE queue_id = $1 AND attempted_at_ms + 0 > $2;

-- name: insert_deduplication
INSERT INTO deduplication (queue_id, group_id, deduplication_id, accepted_at_ms, message_id,
                           sequence)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
ON CONFLICT DO NOTHING;

-- name: insert_attempts
INSERT INTO receive_attempt (queue_id, attempt_id, attempted_at_ms, leases)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::text[]) ON CONFLICT DO NOTHING;

-- name: raise_message_sequence
SELECT setval('message_sequence', $2, false) FROM message_sequence WHERE last_value <= $1;
