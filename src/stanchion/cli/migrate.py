"""`stanchion migrate`: from a data directory to a schema of PostgreSQL, and back if need be.

Progress goes to standard error, as a bar or as plain lines; what was moved, to standard output.
"""

import asyncio
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from stanchion.backends import check_postgres
from stanchion.cli.settings import CONFIG, Fault, configuration, with_options
from stanchion.config import SQLITE, Settings
from stanchion.keys.key_file import FILE_NAME
from stanchion.store.contract import StoreUnusable

if TYPE_CHECKING:
    from stanchion.store.migrate import Moved, Progress

_LINE_EVERY_S = 5.0

OPTIONS = (
    click.option("--data-dir", metavar="DIR", help="Where the state is that is to be moved."),
    click.option("--store", metavar="URL", help="postgresql://…, where it is to go."),
    click.option("--postgres-schema", metavar="NAME", help="The schema there.  [stanchion]"),
    CONFIG,
)


@click.command()
@with_options(*OPTIONS)
@click.option("--undo", is_flag=True, help="Serve the directory again, and not the database.")
def migrate(config: str | None, undo: bool, **flags: Any) -> None:
    """Move a data directory into a schema of PostgreSQL.

    Everything goes: queues, messages, identities, keys. No server may be running on the directory,
    and the schema has to be new. If it is interrupted, run it again: it goes on where it was. At
    the end all is checked, the directory is marked so that no server starts on it any more, and
    servers can be started with --store.

    With --undo, the mark is taken off and servers are kept off the schema. Whatever has happened
    there since is not brought back.
    """
    settings = _settings(config, flags)
    directory, url, schema = Path(settings.data_dir), settings.store, settings.postgres_schema
    start_s = time.monotonic()
    try:
        check_postgres()
        from stanchion.store.migrate import copying

        if undo:
            place = asyncio.run(copying.undo(directory, url, schema))
            click.echo(f"{directory} can be served again, and {place} cannot any more.")
            return
        console = Console(stderr=True)
        with _bars(console) if console.is_terminal else nullcontext() as bars:
            report = _Bar(bars).report if bars else _Lines().report
            moved = asyncio.run(copying.migrate(directory, url, schema, report))
    except StoreUnusable as error:
        raise Fault(str(error)) from None
    _tell(directory, moved, time.monotonic() - start_s)


def _settings(config: str | None, flags: dict[str, Any]) -> Settings:
    settings = configuration(config, flags).settings
    if not settings.data_dir:
        raise Fault("no data directory: say what is to be moved with --data-dir DIR")
    if settings.store == SQLITE:
        raise Fault("no database: say where it is to go with --store postgresql://…")
    return settings


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} messages"),
        TextColumn("{task.fields[rate_per_s]:,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class _Rate:
    """How fast messages are copied by this run, and how long the others will take at that."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def of(self, progress: "Progress") -> tuple[float, float]:
        """Messages a second, and seconds left."""
        now_s = time.monotonic()
        if self._first is None or progress.messages == self._first[1]:
            self._first = (now_s, progress.messages)
        start_s, messages = self._first
        rate_per_s = (progress.messages - messages) / max(now_s - start_s, 0.001)
        left = progress.messages_total - progress.messages
        return rate_per_s, left / rate_per_s if rate_per_s else 0.0


class _Bar:
    """For a terminal."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._rate = _Rate()
        self._task: TaskID | None = None

    def report(self, progress: "Progress") -> None:
        rate_per_s, _ = self._rate.of(progress)
        if self._task is None:
            # What an earlier run has copied is no achievement of this one.
            self._task = self._bars.add_task(
                progress.doing,
                total=progress.messages_total,
                completed=progress.messages,
                rate_per_s=0.0,
            )
        self._bars.update(
            self._task,
            description=progress.doing,
            completed=progress.messages,
            rate_per_s=rate_per_s,
        )


class _Lines:
    """For a log: a line for each thing to do, and one every few seconds."""

    def __init__(self) -> None:
        self._rate = _Rate()
        self._doing = ""
        self._told_s = 0.0

    def report(self, progress: "Progress") -> None:
        rate_per_s, left_s = self._rate.of(progress)
        now_s = time.monotonic()
        if progress.doing == self._doing and now_s < self._told_s + _LINE_EVERY_S:
            return
        self._doing, self._told_s = progress.doing, now_s
        line = progress.doing
        if progress.messages:
            line += f": {progress.messages:,} of {progress.messages_total:,} messages"
        if rate_per_s:
            line += f", {rate_per_s:,.0f}/s, {left_s:,.0f} s left"
        click.echo(line, err=True)


def _tell(directory: Path, moved: "Moved", seconds: float) -> None:
    if moved.was_there:
        click.echo(f"{directory} is in {moved.place} already: nothing was left to do.")
        return
    click.echo(
        f"{moved.queues:,} queues, {moved.messages:,} messages and {moved.records:,} records "
        f"are in {moved.place}, after {seconds:,.1f} s."
    )
    key = directory / FILE_NAME
    root = f"--root-key-file and a copy of {key}" if key.exists() else "the same root of trust"
    click.echo(f"Give every server {root}: without it, nothing there can be read.")
