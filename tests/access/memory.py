"""Documents over a store in memory, for tests about who there is."""

from typing import Any

from stanchion.keys.ring import KeyRing
from stanchion.store.contract import Command, StoreError
from stanchion.store.documents import Documents
from stanchion.store.records import GetRecords
from stanchion.store.sqlite import SqliteStore

NOW_MS = 1_767_323_045_000


class MemoryStore:
    """A `StoreClient` that runs each command at once and notes what was asked for."""

    def __init__(self) -> None:
        self.engine = SqliteStore.in_memory()
        self.is_failing = False
        self.commands: list[Command[Any]] = []

    async def run(self, command: Command[Any]) -> Any:
        self.commands.append(command)
        if self.is_failing and not isinstance(command, GetRecords):
            raise StoreError("no")
        (answer,) = self.engine.execute([command], NOW_MS).answers
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def reads(self, kind: str) -> list[str]:
        """The names of records of a kind that were asked for."""
        gets = [command for command in self.commands if isinstance(command, GetRecords)]
        return [key.name for command in gets for key in command.keys if key.kind == kind]

    def __del__(self) -> None:
        self.engine.close()


class Memory:
    """A store, its documents, and a key ring."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.documents = Documents(self.store)
        self.ring = KeyRing.ephemeral()
