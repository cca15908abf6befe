"""Moves a data directory into a schema of PostgreSQL, or takes that back.

Theory of operation. Rows are copied in batches, each noted in the schema by the transaction that
writes it. So after a crash, here or there, the same call goes on behind the last batch. When all is
there, it is compared with the directory. Then the directory is marked as moved, which keeps servers
off it; only then is the schema complete, which lets servers onto it. So there is no moment at which
both can be served. A directory that was written to between two attempts is copied anew.

Never changes a message or a key, and never looks at the root of trust. Called by the command line.
"""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

from stanchion.config import without_password
from stanchion.store.contract import StoreUnusable
from stanchion.store.migrate.parts import MESSAGES, PARTS
from stanchion.store.migrate.source import Source
from stanchion.store.migrate.target import State, Target
from stanchion.store.postgres import database


class Progress(NamedTuple):
    doing: str
    """For people."""
    messages: int
    """How many have been copied, by this call or one before."""
    messages_total: int


class Moved(NamedTuple):
    """What is in the schema now."""

    place: str
    was_there: bool
    """Nothing was left to do."""
    queues: int
    messages: int
    records: int


Report = Callable[[Progress], None]


async def migrate(directory: Path, url: str, schema: str, report: Report) -> Moved:
    """Copy everything, check it, and mark the directory as moved.

    Raises `StoreUnusable`; then the same call may be made again. `report` is called for each batch.
    """
    place = _place(url, schema)
    async with _both(directory, url, schema) as (source, target):
        state = await _begin(source, target, directory, place)
        if state.status == "complete":
            return Moved(place, True, 0, 0, 0)
        await _copy(source, target, state, report)
        moved = await _checked(source, target, place)
        source.set_moved_to(place)
        await target.set_status("complete")
        return moved


def _place(url: str, schema: str) -> str:
    return f"schema {schema} of {without_password(url)}"


@asynccontextmanager
async def _both(directory: Path, url: str, schema: str) -> AsyncIterator[tuple[Source, Target]]:
    try:
        with closing(Source(directory)) as source:
            target = await Target.open(url, schema)
            try:
                yield source, target
            finally:
                await target.close()
    except sqlite3.Error as error:
        raise StoreUnusable(f"{directory} cannot be read: {error}") from error
    except database.CONNECT_ERRORS as error:
        reason = database.words_of(error)
        raise StoreUnusable(f"the PostgreSQL database cannot be used: {reason}") from error


async def _begin(source: Source, target: Target, directory: Path, place: str) -> State:
    """Where copying begins or goes on."""
    moved_to = source.moved_to()
    if moved_to not in (None, place):
        raise StoreUnusable(f"{directory} was moved to {moved_to}: take that back first, --undo")
    identity, state = source.identity(), source.state()
    found = await target.state()
    if found is None and moved_to:
        raise StoreUnusable(f"{directory} was moved to {place}, where nothing is: --undo first")
    if found is None:
        return await target.begin(identity, state)
    if found.identity != identity or (found.status == "complete" and not moved_to):
        raise StoreUnusable(
            f"{place} is there already, moved from another directory or an earlier time: "
            "choose another with --postgres-schema"
        )
    if found.status == "taken back":
        raise StoreUnusable(
            f"what was in {place} was taken back: drop the schema, "
            "or choose another with --postgres-schema"
        )
    if found.status == "copying":
        await target.bring_up_to_date()
        if found.state != state:
            return await target.start_over(identity, state)
    return found


async def _copy(source: Source, target: Target, state: State, report: Report) -> None:
    messages, total = await target.copied_messages(), source.messages()
    after = state.after
    for number in range(state.part, len(PARTS)):
        part = PARTS[number]
        report(Progress(part.name, messages, total))
        for batch in source.batches(part, after):
            await target.write(number, batch)
            if part is MESSAGES:
                messages += len(batch.rows)
            report(Progress(part.name, messages, total))
        await target.end_part(number)
        after = PARTS[number + 1].first_after if part is not PARTS[-1] else ()
    report(Progress("checking", messages, total))


async def _checked(source: Source, target: Target, place: str) -> Moved:
    """Raises `StoreUnusable` if anything that is there is not what it should be."""
    await target.set_numbers(source.numbers())
    await target.analyze()
    expected: Counter[str] = Counter()
    for part in PARTS:
        rows = source.count(part)
        expected.update({table.name: rows for table in part.tables})
    found = {name: await target.count(name) for name in expected}
    wrong = [f"{name}: {found[name]} of {n}" for name, n in expected.items() if found[name] != n]
    if wrong:
        raise StoreUnusable(
            f"what is in {place} differs from the directory ({', '.join(wrong)} rows): "
            "drop the schema and begin again"
        )
    if await target.sums_by_backlog() != source.sums_by_backlog():
        raise StoreUnusable(
            f"messages in {place} differ from those of the directory: "
            "drop the schema and begin again"
        )
    return Moved(place, False, found["queue"], found["message"], found["record"])


async def undo(directory: Path, url: str, schema: str) -> str:
    """Let servers onto the directory again, and keep them off the schema for good.

    Answers which schema that was. What has happened there since is not brought back. Raises
    `StoreUnusable`, also while servers have the schema open.
    """
    place = _place(url, schema)
    async with _both(directory, url, schema) as (source, target):
        moved_to = source.moved_to()
        if moved_to is None:
            raise StoreUnusable(f"{directory} was not moved: there is nothing to take back")
        state = await target.state()
        is_there = state is not None and state.identity == source.identity()
        if not is_there and moved_to != place:
            raise StoreUnusable(f"{directory} was moved to {moved_to}, not to {place}")
        if await target.has_servers():
            raise StoreUnusable(f"servers are running on {place}: stop them first")
        if is_there:
            await target.set_status("taken back")
        source.set_moved_to(None)
    return place
