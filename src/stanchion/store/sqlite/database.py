"""The database file: opening it, refusing what is not ours, and bringing its schema up to date.

A file of another application, a damaged one, or one written by a newer Stanchion is refused with
one line that says which file and why. Called by the engine only.
"""

import sqlite3
from importlib.resources import files
from pathlib import Path

from stanchion.store.contract import StoreUnusable
from stanchion.store.sqlite.statements import statement

_READ_META = statement("read_meta")
_WRITE_MOVED_TO = statement("write_moved_to")
_DELETE_MOVED_TO = statement("delete_moved_to")
_APPLICATION_ID = 0x53746E63  # "Stnc"
_SQLITE_MIN = (3, 35, 0)
_CACHED_STATEMENTS = 256
_CACHE_KIB = 32 * 1024
_BUSY_TIMEOUT_S = 5.0
_SETTINGS = (
    # Counts for a new file only: space can be given back without rewriting everything.
    "PRAGMA auto_vacuum = INCREMENTAL",
    # FULL: a commit is synced before it is answered. Checkpoints have a thread of their own.
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA wal_autocheckpoint = 0",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
    "PRAGMA cell_size_check = ON",
    "PRAGMA secure_delete = OFF",
    "PRAGMA temp_store = MEMORY",
)


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the store's database, made if there is none. Raises `StoreUnusable`."""
    try:
        connection = connect(path)
        try:
            _check_ours(connection, str(path))
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            migrate(connection, str(path))
            _check_not_moved(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} cannot be read as a Stanchion database: {error}") from error
    return connection


def open_beside(path: Path, *, even_moved: bool = False) -> sqlite3.Connection:
    """A further connection to a database that is there, and up to date. Raises `StoreUnusable`.

    Also when its data was moved elsewhere, unless `even_moved`.
    """
    if not path.is_file():
        raise StoreUnusable(f"{path.parent} has no Stanchion data: start a server on it first")
    try:
        connection = connect(path)
        try:
            _check_ours(connection, str(path))
            version, newest = _pragma(connection, "user_version"), len(_migrations())
            if version != newest:
                raise StoreUnusable(
                    f"{path} has schema {version} and this Stanchion knows {newest}: "
                    "start this version's server on it, or use the version of the server"
                )
            if not even_moved:
                _check_not_moved(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} cannot be read as a Stanchion database: {error}") from error
    return connection


def open_memory() -> sqlite3.Connection:
    connection = connect(":memory:")
    migrate(connection, "the database in memory")
    return connection


def connect(path: Path | str) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < _SQLITE_MIN:
        needed = ".".join(map(str, _SQLITE_MIN))
        raise StoreUnusable(f"SQLite {sqlite3.sqlite_version} is too old: {needed} is needed")
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_ours(connection: sqlite3.Connection, path: str) -> None:
    application_id = _pragma(connection, "application_id")
    is_new = _pragma(connection, "schema_version") == 0
    if application_id != _APPLICATION_ID and not (application_id == 0 and is_new):
        raise StoreUnusable(f"{path} is a database of another application")


def _check_not_moved(connection: sqlite3.Connection, path: Path) -> None:
    if place := moved_to(connection):
        raise StoreUnusable(
            f"{path.parent} was moved to {place}: serve it from there, "
            "or take that back with stanchion migrate --undo"
        )


def moved_to(connection: sqlite3.Connection) -> str | None:
    """Where the data is now, if it was moved."""
    row = connection.execute(_READ_META, ("moved_to",)).fetchone()
    return row[0] if row else None


def set_moved_to(connection: sqlite3.Connection, place: str | None) -> None:
    """Keep servers off the database, or let them onto it again. Within a transaction."""
    if place is None:
        connection.execute(_DELETE_MOVED_TO)
    else:
        connection.execute(_WRITE_MOVED_TO, (place,))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the schema to the newest version, each step in a transaction of its own."""
    migrations = _migrations()
    version = _pragma(connection, "user_version")
    if version > len(migrations):
        raise StoreUnusable(
            f"{path} has schema {version}, from a newer Stanchion; this one knows schemas up to "
            f"{len(migrations)}: use the newer one"
        )
    for number, script in enumerate(migrations[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\n"
            f"PRAGMA application_id = {_APPLICATION_ID};\nCOMMIT;"
        )


def _migrations() -> list[str]:
    """The scripts in order of their numbers, which have no gaps."""
    directory = files(__package__).joinpath("migrations")
    scripts = sorted((f for f in directory.iterdir() if f.name.endswith(".sql")), key=_number)
    assert [_number(script) for script in scripts] == list(range(1, len(scripts) + 1))
    return [script.read_text("utf-8") for script in scripts]


def _number(script: object) -> int:
    return int(getattr(script, "name", "")[:4])
