"""What is copied: for each table of a data directory, its rows in order and where they go.

A part is read from SQLite in the order of a key, so that copying goes on behind the last key that
has arrived. Rows of backlogs without a queue, which were purged or deleted, stay behind: nobody can
see them, and upkeep was about to remove them. A test compares this with the tables of both stores.
Never anything about how to read or write; see `source` and `target`.
"""

from typing import NamedTuple

Key = tuple[int | str, ...]


class Table(NamedTuple):
    """Columns of one table of PostgreSQL. Those named `is_…` are booleans there."""

    name: str
    columns: tuple[str, ...]


class Part(NamedTuple):
    """Rows that are read together."""

    name: str
    """For people."""
    select: str
    """The rows after a key: the columns of the key, then those of each table."""
    first_after: Key
    """Comes before every key."""
    tables: tuple[Table, ...]
    size_column: int | None = None
    """The column that may be large."""


# A unary plus keeps SQLite from looking for rows by backlog: the key is what it has to go by.
PARTS = (
    Part(
        "queues",
        """
        SELECT id, id, account_id, region, name, version, attributes, tags, retention_ms, is_fifo,
               delay_ms, dead_letter_account_id, dead_letter_region, dead_letter_name,
               receive_count_max, backlog, purged_at_ms, created_at_ms, modified_at_ms, change
        FROM queue WHERE id > ? ORDER BY id
        """,
        (0,),
        (
            Table(
                "queue",
                (
                    *("id", "account_id", "region", "name", "version", "attributes", "tags"),
                    *("retention_ms", "is_fifo", "delay_ms", "dead_letter_account_id"),
                    *("dead_letter_region", "dead_letter_name", "receive_count_max", "backlog"),
                    *("purged_at_ms", "created_at_ms", "modified_at_ms", "change"),
                ),
            ),
        ),
    ),
    Part(
        "names of deleted queues",
        """
        SELECT account_id, region, name, account_id, region, name, deleted_at_ms, change
        FROM deleted_queue
        WHERE (account_id, region, name) > (?, ?, ?) ORDER BY account_id, region, name
        """,
        ("", "", ""),
        (Table("deleted_queue", ("account_id", "region", "name", "deleted_at_ms", "change")),),
    ),
    Part(
        # An empty backlog is due after its queue's retention; in SQLite it is not due at all.
        "backlogs",
        """
        SELECT b.id, b.id, b.queue_id,
               coalesce(b.check_at_ms, q.retention_ms
                        + (SELECT value FROM meta WHERE meta.name = 'latest_ms'))
        FROM backlog AS b CROSS JOIN queue AS q ON q.id = b.queue_id
        WHERE b.id > ? ORDER BY b.id
        """,
        (0,),
        (Table("backlog", ("id", "queue_id", "check_at_ms")),),
    ),
    Part(
        # 2: all messages of the backlog.
        "totals",
        """
        SELECT id, id, 2, 0, messages
        FROM backlog WHERE id > ? AND queue_id IS NOT NULL AND messages <> 0 ORDER BY id
        """,
        (0,),
        (Table("tally", ("backlog", "received", "bucket_s", "messages")),),
    ),
    Part(
        "counts",
        """
        SELECT backlog, received, bucket_s, backlog, received, bucket_s, messages
        FROM tally
        WHERE (backlog, received, bucket_s) > (?, ?, ?)
          AND +backlog IN (SELECT id FROM backlog WHERE queue_id IS NOT NULL)
        ORDER BY backlog, received, bucket_s
        """,
        (0, 0, 0),
        (Table("tally", ("backlog", "received", "bucket_s", "messages")),),
    ),
    Part(
        "message groups",
        """
        SELECT key, key, backlog, group_id, is_returned, ready_at_ms
        FROM fifo_group
        WHERE key > ? AND +backlog IN (SELECT id FROM backlog WHERE queue_id IS NOT NULL)
        ORDER BY key
        """,
        (0,),
        (
            Table(
                "fifo_group",
                ("key", "backlog", "group_id", "is_returned", "ready_at_ms"),
            ),
        ),
    ),
    Part(
        "noisy tenants",
        """
        SELECT backlog, lane, backlog, lane, group_id, last_sent_at_ms
        FROM noisy_tenant
        WHERE (backlog, lane) > (?, ?)
          AND +backlog IN (SELECT id FROM backlog WHERE queue_id IS NOT NULL)
        ORDER BY backlog, lane
        """,
        (0, 0),
        (Table("noisy_tenant", ("backlog", "lane", "group_id", "last_sent_at_ms")),),
    ),
    Part(
        "deduplication ids",
        """
        SELECT sequence, queue_id, group_id, deduplication_id, accepted_at_ms, message_id, sequence
        FROM deduplication WHERE sequence > ? ORDER BY sequence
        """,
        (0,),
        (
            Table(
                "deduplication",
                (
                    *("queue_id", "group_id", "deduplication_id", "accepted_at_ms"),
                    *("message_id", "sequence"),
                ),
            ),
        ),
    ),
    Part(
        "receive attempts",
        """
        SELECT number, queue_id, attempt_id, attempted_at_ms, leases
        FROM receive_attempt WHERE number > ? ORDER BY number
        """,
        (0,),
        (Table("receive_attempt", ("queue_id", "attempt_id", "attempted_at_ms", "leases")),),
    ),
    Part(
        "move tasks",
        """
        SELECT number, number, task_id, account_id, region, name, destination, messages_per_s,
               status, started_at_ms, due_at_ms, moved, to_move, failure
        FROM move_task WHERE number > ? ORDER BY number
        """,
        (0,),
        (
            Table(
                "move_task",
                (
                    *("number", "task_id", "account_id", "region", "name", "destination"),
                    *("messages_per_s", "status", "started_at_ms", "due_at_ms", "moved"),
                    *("to_move", "failure"),
                ),
            ),
        ),
    ),
    Part(
        "records",
        """
        SELECT kind, account_id, name, kind, account_id, name, version, value
        FROM record
        WHERE (kind, account_id, name) > (?, ?, ?) ORDER BY kind, account_id, name
        """,
        ("", "", ""),
        (Table("record", ("kind", "account_id", "name", "version", "value")),),
        size_column=-1,
    ),
    Part(
        "messages",
        """
        SELECT m.backlog, m.sequence,
               m.backlog, m.sequence, m.visible_at_ms, m.receive_count, m.first_received_at_ms,
               m.lane, m.group_key, m.dead_letter_source, m.provenance,
               b.sequence, b.sent_at_ms, b.message_id, b.sender_id, b.group_id,
               b.deduplication_id, b.trace_header, b.attributes, b.body
        FROM message AS m CROSS JOIN message_body AS b ON b.sequence = m.sequence
        WHERE (m.backlog, m.sequence) > (?, ?)
          AND +m.backlog IN (SELECT id FROM backlog WHERE queue_id IS NOT NULL)
        ORDER BY m.backlog, m.sequence
        """,
        (0, 0),
        (
            Table(
                "message",
                (
                    *("backlog", "sequence", "visible_at_ms", "receive_count"),
                    *("first_received_at_ms", "lane", "group_key", "dead_letter_source"),
                    "provenance",
                ),
            ),
            Table(
                "message_body",
                (
                    *("sequence", "sent_at_ms", "message_id", "sender_id", "group_id"),
                    *("deduplication_id", "trace_header", "attributes", "body"),
                ),
            ),
        ),
        size_column=-1,
    ),
)
MESSAGES = PARTS[-1]
