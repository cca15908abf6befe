"""Plans stay the same whatever VACUUM has last counted in a table, and however worn it is."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.postgres import database
from tests.postgres import SCHEMA, SharedDatabase, shared_database
from tests.store.test_postgres_statements import FEW_ROWS, NAMES, plan_of

ROWS = 20_000
FILL = f"""
INSERT INTO message (backlog, sequence, visible_at_ms, group_key, lane)
SELECT 1 + n % 20, n * 64, n, n % 1000, (n % 50 = 0)::integer FROM generate_series(1, {ROWS}) n;
UPDATE message SET visible_at_ms = visible_at_ms + 30000, receive_count = 1;
INSERT INTO message_body (sequence, sent_at_ms, message_id, sender_id, attributes, body)
SELECT n * 64, n, n::text, '', '', '' FROM generate_series(1, {ROWS}) n;
INSERT INTO fifo_group
SELECT n, 1 + n % 20, n::text, n % 2 = 0, n FROM generate_series(1, {ROWS}) n;
INSERT INTO tally SELECT 1 + n % 20, n % 3, n, 1 FROM generate_series(1, {ROWS}) n;
INSERT INTO tally_change (backlog, received, bucket_s, messages)
SELECT 1 + n % 20, n % 3, n, 1 FROM generate_series(1, {ROWS}) n;
INSERT INTO deduplication
SELECT 1 + n % 20, (n % 1000)::text, n::text, n, '', n FROM generate_series(1, {ROWS}) n;
INSERT INTO receive_attempt SELECT 1 + n % 20, n::text, n, '' FROM generate_series(1, {ROWS}) n;
INSERT INTO queue (account_id, region, name, version, attributes, tags, retention_ms, is_fifo,
                   delay_ms, receive_count_max, backlog, created_at_ms, modified_at_ms, change)
SELECT 'a', 'r', n::text, 1, '', '', 1, false, 0, 1, n, 1, 1, n FROM generate_series(1, {ROWS}) n;
INSERT INTO backlog (queue_id, check_at_ms) SELECT n, n FROM generate_series(1, {ROWS}) n
"""
TABLES = (
    *("message", "message_body", "fifo_group", "tally", "tally_change"),
    *("deduplication", "receive_attempt", "queue", "backlog"),
)
"""Those that grow and shrink with what queues hold, and with their number."""


@pytest.fixture(scope="module")
def worn() -> Iterator[tuple[SharedDatabase, Any]]:
    """A session on tables that have had many rows."""
    shared = shared_database()
    schema = f"{SCHEMA}_worn"
    connection = shared.loop.run(database.connect(shared.url, schema))
    shared.loop.run(database.migrate(connection, schema))
    yield shared, connection
    shared.loop.run(connection.execute(f"DROP SCHEMA {schema} CASCADE"))
    shared.loop.run(connection.close())


def plans(worn: tuple[SharedDatabase, Any]) -> dict[str, list[str]]:
    return {name: scans(plan_of(worn, name)) for name in NAMES if name not in FEW_ROWS}


def scans(plan: list[str]) -> list[str]:
    """How a plan reads these tables, and by which condition."""
    found = []
    for line, following in zip(plan, [*plan[1:], ""], strict=True):
        scan = re.search(r"(?:Seq|Bitmap|Index|Tid).* Scan.* on (\w+).*?(?=  \()", line)
        if scan and scan[1] in TABLES:
            # The planner numbers names that it has made up.
            condition = following if re.match("Index Cond|TID Cond", following) else "all rows"
            found.append(f"{scan[0]}: {re.sub(r'_[0-9]+', '', condition)}")
    return sorted(found)


def test_plans_do_not_depend_on_what_vacuum_has_seen(worn: tuple[SharedDatabase, Any]) -> None:
    shared, connection = worn
    expected = plans(worn)
    assert any("message_by_visibility" in scan for scan in expected["claim_at_once"])
    shared.loop.run(connection.execute(FILL))
    for left in (ROWS, 400, 40, 5, 1, 0):
        for table in TABLES:
            # The last ones, so that the empty pages before them cannot be given back.
            last = f"SELECT ctid FROM {table} ORDER BY ctid DESC LIMIT {left}"
            shared.loop.run(
                connection.execute(f"DELETE FROM {table} WHERE ctid <> ALL (ARRAY({last}))")
                if left < ROWS
                else connection.execute(f"ANALYZE {table}")
            )
            shared.loop.run(connection.execute(f"VACUUM {table}"))
        assert plans(worn) == expected, left
    # The same rows in indexes that are as small as can be.
    for table in TABLES:
        shared.loop.run(connection.execute(f"REINDEX TABLE {table}"))
    assert plans(worn) == expected
