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


class RowsStatement:
    """An INSERT of any number of rows, as a few statements of fixed sizes.

    One step of a statement releases and retakes the interpreter's lock, which is slow while another
    thread is busy. So many rows go in one step, and sizes are powers of two to keep statements few.
    """

    SIZES = (64, 32, 16, 8, 4, 2, 1)

    def __init__(self, name: str) -> None:
        text = statement(name)
        head, _, tail = text.partition("{rows}")
        row = head[head.index("VALUES ") + len("VALUES ") :]
        self.columns = row.count("?")
        self._texts = {size: head + (", " + row) * (size - 1) + tail for size in self.SIZES}

    def batches(self, values: list[object]) -> Iterator[tuple[str, list[object]]]:
        """Pairs of a statement and its parameters, for rows whose values lie end to end."""
        start = 0
        rows_left = len(values) // self.columns
        for size in self.SIZES:
            while rows_left >= size:
                end = start + size * self.columns
                yield self._texts[size], values[start:end]
                start = end
                rows_left -= size
