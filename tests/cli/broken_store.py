"""A server whose store breaks when a queue is made: run as a module by `test_serving.py`."""

import sys
from collections.abc import Sequence
from typing import Any

from msgspec import structs

from stanchion import server
from stanchion.backends import in_process
from stanchion.config import Settings
from stanchion.store.contract import Command, CreateQueue, Flush, StoreBroken
from stanchion.store.sqlite import SqliteStore


class Breaking:
    """A store in memory, until it is asked for a queue."""

    def __init__(self) -> None:
        self._store = SqliteStore.in_memory()
        self.maintain = self._store.maintain
        self.latest_ms = self._store.latest_ms
        self.close = self._store.close
        self.set_move_key = self._store.set_move_key

    def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        if any(isinstance(command, CreateQueue) for command in commands):
            raise StoreBroken("the disk is gone")
        return self._store.execute(commands, now_ms)


def announce(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    mode = structs.replace(server.development(), open_backend=in_process(Breaking))
    sys.exit(server.run(Settings(port=0), mode, announce))
