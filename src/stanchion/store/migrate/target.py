"""The schema that is moved to: what has arrived there, and how far that is.

The table `moved_directory` is made together with all others. While its row says that copying is not
complete, no server starts on the schema. Every batch is one transaction together with the note of
how far it got, so that a copy which was interrupted goes on where it was. One at a time: a lock of
the session sees to it. Called by `copying`.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import asyncpg
import msgspec

from stanchion.store.contract import StoreUnusable
from stanchion.store.migrate.parts import PARTS, Key, Table
from stanchion.store.migrate.source import Batch, Numbers, Row
from stanchion.store.postgres import database

Status = Literal["copying", "complete", "taken back"]

_STATEMENT_S = 3600
_SESSION = {
    "application_name": "stanchion migrate",
    # The other sessions of the store look rows up; this one counts all of them.
    "enable_seqscan": "on",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
    "statement_timeout": "0",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "600000",
}
_LOCK = "SELECT pg_advisory_lock(hashtext($1), 4)"
_IS_STANCHIONS = "SELECT to_regclass('schema_version') IS NOT NULL"
_HAS_TABLES = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1)"
_TABLES = """
    SELECT quote_ident(tablename) FROM pg_tables
    WHERE schemaname = $1 AND tablename NOT IN ('meta', 'schema_version')
"""
_EDITS = "SELECT value FROM meta WHERE name = 'edits'"
_CREATE_STATE = """
    CREATE TABLE moved_directory (
        -- Digests: which directory it is, and whether anybody has written to it since.
        identity text NOT NULL,
        state text NOT NULL,
        status text NOT NULL,
        -- How far copying got: the part, and the key of its last row, as JSON.
        part integer NOT NULL,
        after_key text NOT NULL
    )
"""
_INSERT_STATE = "INSERT INTO moved_directory VALUES ($1, $2, 'copying', 0, $3)"
_STATE = "SELECT identity, state, status, part, after_key FROM moved_directory"
_RESTART = "UPDATE moved_directory SET state = $1, part = 0, after_key = $2"
_ADVANCE = "UPDATE moved_directory SET part = $1, after_key = $2"
_SET_STATUS = "UPDATE moved_directory SET status = $1"
_SET_META = "UPDATE meta SET value = $2 WHERE name = $1"
_SERIAL_SEQUENCE = "SELECT pg_get_serial_sequence($1, $2)"
_NEXT_NUMBER = "SELECT nextval($1::text::regclass)"
_STEP = "SELECT seqincrement FROM pg_sequence WHERE seqrelid = $1::text::regclass"
_SET_NUMBER = "SELECT setval($1::text::regclass, $2)"
_COPIED_MESSAGES = "SELECT count(*) FROM message"
_BY_BACKLOG = """
    SELECT m.backlog, count(*), min(m.sequence), max(m.sequence), sum(m.receive_count)::bigint,
           sum(m.visible_at_ms % 1000003)::bigint, sum(b.sent_at_ms % 1000003)::bigint,
           sum(octet_length(b.body))::bigint
    FROM message AS m JOIN message_body AS b ON b.sequence = m.sequence
    GROUP BY m.backlog ORDER BY m.backlog
"""
_SERVERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = $1
"""

_encode = msgspec.json.encode
_decode_key = msgspec.json.Decoder(Key).decode


class State(NamedTuple):
    """What the schema says about the directory that was, or is being, moved there."""

    identity: str
    state: str
    status: Status
    part: int
    after: Key


class Target:
    """A schema, and the lock on it. Made by `open`."""

    def __init__(self, connection: database.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    @classmethod
    async def open(cls, url: str, schema: str) -> "Target":
        """Waits for another migration into the schema, but not for long.

        Raises `StoreUnusable`, and the `CONNECT_ERRORS` of the store.
        """
        connection = await _connection(url, schema)
        try:
            await connection.execute(_LOCK, schema)
        except asyncpg.LockNotAvailableError:
            connection.terminate()
            raise StoreUnusable(
                f"another migration into the PostgreSQL schema {schema} is at work"
            ) from None
        except BaseException:
            connection.terminate()
            raise
        return cls(connection, schema)

    async def close(self) -> None:
        if not self._connection.is_closed():
            await self._connection.close(timeout=5)

    async def state(self) -> State | None:
        """None when nothing was ever moved to the schema."""
        if not await database.has_moved_directory(self._connection):
            return None
        row = await self._connection.fetchrow(_STATE)
        assert row is not None
        identity, state, status, part, after = row
        return State(identity, state, status, part, _decode_key(after))

    async def begin(self, identity: str, state: str) -> State:
        """Make all tables, of which there must be none with anything in it."""
        async with self._connection.transaction():
            is_ours = await self._connection.fetchval(_IS_STANCHIONS)
            if not is_ours and await self._connection.fetchval(_HAS_TABLES, self._schema):
                raise StoreUnusable(
                    f"the PostgreSQL schema {self._schema} holds tables of another application"
                )
            await database.migrate(self._connection, self._schema)
            if await self._is_used():
                raise StoreUnusable(
                    f"the PostgreSQL schema {self._schema} is in use already: "
                    "choose another with --postgres-schema"
                )
            await self._connection.execute(_CREATE_STATE)
            await self._connection.execute(_INSERT_STATE, identity, state, _start())
        return State(identity, state, "copying", 0, PARTS[0].first_after)

    async def _is_used(self) -> bool:
        for (table,) in await self._connection.fetch(_TABLES, self._schema):
            # A name that the database has quoted.
            if await self._connection.fetch(f"SELECT FROM {table} LIMIT 1"):
                return True
        return bool(await self._connection.fetchval(_EDITS))

    async def start_over(self, identity: str, state: str) -> State:
        """Forget what has been copied."""
        names = {table.name for part in PARTS for table in part.tables}
        async with self._connection.transaction():
            await self._connection.execute(f"TRUNCATE {', '.join(sorted(names))}")
            await self._connection.execute(_RESTART, state, _start())
        return State(identity, state, "copying", 0, PARTS[0].first_after)

    async def bring_up_to_date(self) -> None:
        """Copying may have begun with an earlier version."""
        await database.migrate(self._connection, self._schema)

    async def copied_messages(self) -> int:
        return await self._number(_COPIED_MESSAGES)

    async def write(self, part: int, batch: Batch) -> None:
        """One transaction: rows, and that they are there."""
        async with self._connection.transaction():
            start = len(batch.last)
            for table in PARTS[part].tables:
                end = start + len(table.columns)
                await self._connection.copy_records_to_table(
                    table.name,
                    records=_records(table, [row[start:end] for row in batch.rows]),
                    columns=table.columns,
                    timeout=_STATEMENT_S,
                )
                start = end
            await self._note(part, batch.last)

    async def end_part(self, part: int) -> None:
        """All of it is there: the next one begins."""
        following = PARTS[part + 1].first_after if part + 1 < len(PARTS) else ()
        await self._note(part + 1, following)

    async def _note(self, part: int, after: Key) -> None:
        await self._connection.execute(_ADVANCE, part, _encode(after).decode())

    async def set_numbers(self, numbers: Numbers) -> None:
        """Numbers that were given out there are not given out here again."""
        await self._pass("message_sequence", numbers.message)
        for table, column, last in (
            ("queue", "id", numbers.queue),
            ("backlog", "id", numbers.backlog),
            ("move_task", "number", numbers.move_task),
        ):
            await self._pass(await self._connection.fetchval(_SERIAL_SEQUENCE, table, column), last)
        await self._connection.executemany(_SET_META, numbers.meta.items())

    async def _pass(self, sequence: str, last: int) -> None:
        """The next number of a sequence, which may count in steps, comes after this one."""
        number = await self._connection.fetchval(_NEXT_NUMBER, sequence)
        if number < last:
            step = await self._connection.fetchval(_STEP, sequence)
            number += -((number - last) // step) * step
        await self._connection.fetchval(_SET_NUMBER, sequence, number)

    async def analyze(self) -> None:
        """So that plans are made for tables with something in them."""
        names = {table.name for part in PARTS for table in part.tables}
        await self._connection.execute(f"ANALYZE {', '.join(sorted(names))}", timeout=_STATEMENT_S)

    async def count(self, table: str) -> int:
        # A name of this package's.
        return await self._number(f"SELECT count(*) FROM {table}")  # noqa: S608

    async def sums_by_backlog(self) -> list[Row]:
        """Of the messages of each backlog, what differs when any of them does, most likely.

        Rows of its id, their number, first and last sequence number, and sums over them: receive
        counts, remainders of instants in ms, and sizes in bytes.
        """
        rows = await self._connection.fetch(_BY_BACKLOG, timeout=_STATEMENT_S)
        return [tuple(row) for row in rows]

    async def has_servers(self) -> bool:
        """Whether any server has the schema open; each listens under this name."""
        name = f"stanchion wakes {self._schema}"[:63]
        return bool(await self._connection.fetchval(_SERVERS, name))

    async def set_status(self, status: Status) -> None:
        await self._connection.execute(_SET_STATUS, status)

    async def _number(self, text: str) -> int:
        number: int = await self._connection.fetchval(text, timeout=_STATEMENT_S)
        return number


async def _connection(url: str, schema: str) -> database.Connection:
    try:
        return await database.connect(url, schema, **_SESSION)
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        # It names a part of the URL, and which part that is depends on what is wrong with it.
        raise StoreUnusable(
            "the URL of the PostgreSQL database cannot be read: in a password, special characters "
            "are written as %XX"
        ) from None


def _start() -> str:
    return _encode(PARTS[0].first_after).decode()


def _records(table: Table, rows: list[Row]) -> Sequence[Row]:
    """SQLite has numbers for truth values."""
    flags = {n for n, column in enumerate(table.columns) if column.startswith("is_")}
    if not flags:
        return rows
    return [tuple(bool(v) if n in flags else v for n, v in enumerate(row)) for row in rows]
