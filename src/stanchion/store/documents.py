"""Documents: typed values kept as records, read through a cache, changed by optimistic drafts.

A document is a `Document` struct with a kind; its record holds it as JSON. What is read is
remembered until anything is edited, here or elsewhere: edits are rare, and forgetting everything is
simple and right. The server calls `refresh` every second for edits of other processes. Called by
whatever keeps state that is not a queue: keys, accounts, policies.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, TypeVar

import msgspec
from msgspec import Struct

from stanchion.store.contract import StoreBusy, StoreClient
from stanchion.store.records import (
    Change,
    EditRecords,
    Expected,
    GetRecords,
    LatestEdit,
    ListRecords,
    RecordKey,
)


class Document(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything that is kept as a record. `kind` says of which sort."""

    kind: ClassVar[str]


D = TypeVar("D", bound=Document)
Answer = TypeVar("Answer")

REMEMBERED_MAX = 10_000
ATTEMPTS_MAX = 20
"""How often an edit is decided again because somebody was faster."""

_encode = msgspec.json.encode


class Documents:
    """The documents of a store, as this process knows them."""

    def __init__(self, store: StoreClient, remembered_max: int = REMEMBERED_MAX) -> None:
        self._store = store
        self._remembered_max = remembered_max
        self._remembered: OrderedDict[RecordKey, Document | None] = OrderedDict()
        self._latest_edit = -1
        self.epoch = 0
        """Grows whenever anything may have changed: what was derived before is stale."""

    async def get(self, sort: type[D], account_id: str, name: str) -> D | None:
        """The document of that name, or None. Not older than a second."""
        key = RecordKey(sort.kind, account_id, name)
        if key in self._remembered:
            self._remembered.move_to_end(key)
            found = self._remembered[key]
            assert found is None or isinstance(found, sort)
            return found
        epoch = self.epoch
        document, _ = await self.read(sort, account_id, name)
        if epoch == self.epoch:
            # Otherwise something was edited meanwhile, perhaps this.
            self._remembered[key] = document
            if len(self._remembered) > self._remembered_max:
                self._remembered.popitem(last=False)
        return document

    async def read(self, sort: type[D], account_id: str, name: str) -> tuple[D | None, int]:
        """The document as the store has it now, and its version; None and 0 without one."""
        (record,) = await self._store.run(GetRecords((RecordKey(sort.kind, account_id, name),)))
        if record is None:
            return None, 0
        return msgspec.json.decode(record.value, type=sort), record.version

    async def list(
        self,
        sort: type[D],
        account_id: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
    ) -> Sequence[tuple[str, D]]:
        """Names and documents in the order of the names, as the store has them now."""
        command = ListRecords(sort.kind, account_id, prefix, after, limit)
        decode = msgspec.json.Decoder(sort).decode
        return [(found.key.name, decode(found.value)) for found in await self._store.run(command)]

    async def change(
        self, work: Callable[["Draft"], Awaitable[Answer]], *, is_quiet: bool = False
    ) -> Answer:
        """Run `work` over a draft and commit what it wrote, all or nothing. Answer: that of `work`.

        When a document that it read has changed meanwhile, it runs again from the start: `work`
        does nothing beside its draft. An exception of `work` leaves everything as it was.
        """
        for _ in range(ATTEMPTS_MAX):
            draft = Draft(self)
            answer = await work(draft)
            command = draft.command(is_quiet)
            if not command.changes:
                return answer
            done = await self._store.run(command)
            if done and not is_quiet:
                self.forget()
            if done:
                return answer
        raise StoreBusy("too many changes of the same things at the same time")

    async def refresh(self) -> None:
        """Take note of edits by other processes."""
        latest = await self._store.run(LatestEdit())
        if latest != self._latest_edit:
            self._latest_edit = latest
            self.forget()

    def forget(self) -> None:
        """Whatever is remembered may be wrong from now on."""
        self.epoch += 1
        self._remembered.clear()


class Draft:
    """An edit being decided: it reads what is there, and its own writes; nothing is stored yet."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._expected: dict[RecordKey, int] = {}
        self._values: dict[RecordKey, Document | None] = {}
        self._written: dict[RecordKey, None] = {}

    async def get(self, sort: type[D], account_id: str, name: str) -> D | None:
        """The document, or None. The commit fails if it is another by then."""
        key = RecordKey(sort.kind, account_id, name)
        if key not in self._values:
            document, version = await self._documents.read(sort, account_id, name)
            self._expected[key] = version
            self._values[key] = document
        found = self._values[key]
        assert found is None or isinstance(found, sort)
        return found

    def put(self, document: Document, account_id: str, name: str) -> None:
        """Write a document under a name, whether or not there is one unless `get` looked."""
        self._write(RecordKey(document.kind, account_id, name), document)

    def delete(self, sort: type[Document], account_id: str, name: str) -> None:
        self._write(RecordKey(sort.kind, account_id, name), None)

    def _write(self, key: RecordKey, document: Document | None) -> None:
        self._values[key] = document
        self._written[key] = None

    def command(self, is_quiet: bool) -> EditRecords:
        """What the store has to do."""
        changes = tuple(Change(key, self._encoded(key)) for key in self._written)
        expected = tuple(Expected(*item) for item in self._expected.items())
        return EditRecords(expected, changes, is_quiet)

    def _encoded(self, key: RecordKey) -> bytes | None:
        document = self._values[key]
        return None if document is None else _encode(document)
