"""The statements of `statements.sql` by name, read once when this module is imported.

Modules look theirs up at import, so that a name the file does not have fails there.
"""

from collections.abc import Iterator
from importlib.resources import files

_SOURCE = files(__package__).joinpath("statements.sql").read_text("utf-8")
_NAME_MARK = "-- name: "


def _blocks(source: str) -> Iterator[tuple[str, str]]:
    for block in source.split(_NAME_MARK)[1:]:
        name, _, text = block.partition("\n")
        yield name.strip(), text.partition(";")[0].strip()


_TEXTS = dict(_blocks(_SOURCE))


def statement(name: str) -> str:
    """The text of a statement. Raises `KeyError` when the file has none of that name."""
    return _TEXTS[name]
