"""The queues that this process knows, so that a message does not need to look its queue up.

A bounded cache over the store: what is not in it is read, what is deleted or was changed by another
process is forgotten, and an older version never replaces a newer one. Called by every action, and
by the server for what others change; from the event loop only. It knows queues of every account;
that the caller may use one has been decided before.
"""

from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct

from stanchion.access.authoriser import Resource
from stanchion.model.sqs import QueueDoesNotExist
from stanchion.service import Call
from stanchion.sqs import limits, policy_document
from stanchion.sqs.attributes import effective, effective_int, is_fifo
from stanchion.sqs.encryption import Encryption, encryption_of
from stanchion.sqs.urls import QueueReference, queue_arn, read_queue_url
from stanchion.store.changes import ListQueueChanges
from stanchion.store.contract import GetQueue, QueueName, QueueRecord, StoreClient


class Queue(Struct, frozen=True, gc=False):
    """A queue with its settings parsed: what the message actions work with."""

    id: int
    name: QueueName
    arn: str
    delay_ms: int
    """Of a message that says nothing; on a FIFO queue the store sees to the queue's delay."""
    visibility_timeout_ms: int
    receive_wait_s: int
    message_bytes_max: int
    is_fifo: bool
    deduplicates_content: bool
    deduplicates_by_group: bool
    has_high_throughput: bool
    encryption: Encryption | None
    """How bodies are sealed; None when they are stored as they are."""
    access: Resource
    """The queue as the authoriser sees it."""
    stamp: tuple[int, int]
    """Another one whenever anything about the queue is another."""
    record: QueueRecord
    """What the store holds; `record.version` says how new this view is."""


def view_of(record: QueueRecord) -> Queue:
    attributes = record.attributes
    fifo = is_fifo(attributes)
    by_group = effective(attributes, "DeduplicationScope") == "messageGroup"
    per_group = effective(attributes, "FifoThroughputLimit") == "perMessageGroupId"
    return Queue(
        id=record.id,
        name=record.name,
        arn=queue_arn(record.name),
        delay_ms=0 if fifo else effective_int(attributes, "DelaySeconds") * 1000,
        visibility_timeout_ms=effective_int(attributes, "VisibilityTimeout") * 1000,
        receive_wait_s=effective_int(attributes, "ReceiveMessageWaitTimeSeconds"),
        message_bytes_max=effective_int(attributes, "MaximumMessageSize"),
        is_fifo=fifo,
        deduplicates_content=effective(attributes, "ContentBasedDeduplication") == "true",
        deduplicates_by_group=by_group,
        has_high_throughput=by_group and per_group,
        encryption=encryption_of(attributes),
        access=Resource(
            policy=policy_document.named(attributes.get("Policy")),
            keys={f"aws:resourcetag/{tag.lower()}": (value,) for tag, value in record.tags.items()},
        ),
        stamp=(record.id, record.version),
        record=record,
    )


def does_not_exist() -> QueueDoesNotExist:
    return QueueDoesNotExist("The specified queue does not exist.")


class Catalogue:
    """The cache. `queues_max` bounds how many queues it holds; the least recently used goes."""

    def __init__(self, store: StoreClient, queues_max: int = limits.CACHED_QUEUES_MAX) -> None:
        self._store = store
        self._queues_max = queues_max
        self._queues: OrderedDict[tuple[str, str, str], Queue] = OrderedDict()
        self._references: dict[str, QueueReference] = {}
        self.edition = 0
        """Another one when something was forgotten: what was read before is not kept."""
        self._reached = 0
        self._followed_at_ms = 0

    async def resolve(self, call: Call, queue_url: str | None) -> Queue:
        """The queue that a request's QueueUrl names, from the cache or else from the store.

        Raises `QueueDoesNotExist` (also for a URL that is absent or garbage) and `InvalidAddress`.
        """
        key = self.name_of(call, queue_url)
        return self.cached(key) or await self.read(QueueName(*key))

    async def resolve_latest(self, call: Call, queue_url: str | None) -> Queue:
        """As `resolve`, but as the store has it now: for what reads or edits a queue's settings."""
        return await self.read(QueueName(*self.name_of(call, queue_url)))

    def name_of(self, call: Call, queue_url: str | None) -> tuple[str, str, str]:
        """Account, region and name of the queue that a QueueUrl names. Raises like `resolve`."""
        reference = self._references.get(queue_url) if queue_url else None
        if reference is None:
            reference = self._refer(call, queue_url)
        if reference.endpoint_region:
            reference.check_endpoint(call.region)
        return reference.account_id or call.caller.account_id, call.region, reference.name

    def _refer(self, call: Call, queue_url: str | None) -> QueueReference:
        # Without a QueueUrl the path names the queue; where the path is `/`, nothing does.
        text = queue_url or call.path
        reference = read_queue_url(text)
        if reference is None:
            raise does_not_exist()
        if len(text) <= limits.CACHED_URL_CHARS_MAX:
            if len(self._references) >= limits.CACHED_URLS_MAX:
                del self._references[next(iter(self._references))]
            self._references[text] = reference
        return reference

    def cached(self, name: tuple[str, str, str]) -> Queue | None:
        """The queue of that account, region and name, if it is in the cache."""
        queue = self._queues.get(name)
        if queue is not None:
            self._queues.move_to_end(name)
        return queue

    async def find(self, name: QueueName) -> Queue:
        """The queue, from the cache or else from the store. Raises `QueueDoesNotExist`."""
        return self.cached(name) or await self.read(name)

    async def read(self, name: QueueName) -> Queue:
        """The queue as the store has it now. Raises `QueueDoesNotExist`."""
        edition = self.edition
        record = await self._store.run(GetQueue(name))
        if record is None:
            self._queues.pop(name, None)
            raise does_not_exist()
        return self.put(record, edition)

    def put(self, record: QueueRecord, edition: int) -> Queue:
        """Take in what the store answered, unless something newer is known. Answer: the newer.

        `edition` is that of the catalogue before the store was asked.
        """
        if edition != self.edition:
            # A queue was deleted or changed meanwhile, perhaps this one.
            return view_of(record)
        known = self._queues.get(record.name)
        if known is not None and _is_newer(known.record, record):
            return known
        queue = view_of(record)
        self._queues[record.name] = queue
        self._queues.move_to_end(record.name)
        if len(self._queues) > self._queues_max:
            self._queues.popitem(last=False)
        return queue

    def gone(self, queue: Queue) -> QueueDoesNotExist:
        """Forget a queue that the store says is gone. Answer: the error to raise."""
        self.forget(queue)
        return does_not_exist()

    def forget(self, queue: Queue) -> None:
        """The queue is deleted. A later one of the same name stays."""
        self.edition += 1
        known = self._queues.get(queue.name)
        if known is not None and known.id == queue.id:
            del self._queues[queue.name]

    async def follow(self, now_ms: int) -> Sequence[Queue]:
        """Forget the queues that were changed since the last time, by whichever process.

        To be called again and again. Answer: those that were known. Raises `StoreError`.
        """
        if not 0 <= now_ms - self._followed_at_ms < limits.CHANGES_TOLD_FOR_MS:
            forgotten = await self._start_over()
        else:
            forgotten = await self._catch_up()
        self._followed_at_ms = now_ms
        return forgotten

    async def _start_over(self) -> Sequence[Queue]:
        """What has changed before now is not known, so it may be anything."""
        self._reached = (await self._store.run(ListQueueChanges(0, 0))).latest
        forgotten = list(self._queues.values())
        self._queues.clear()
        self.edition += 1
        return forgotten

    async def _catch_up(self) -> Sequence[Queue]:
        forgotten: list[Queue] = []
        while True:
            changes = await self._store.run(ListQueueChanges(self._reached, limits.CHANGES_MAX))
            self._reached = changes.reached
            if changes.names:
                self.edition += 1
            found = (self._queues.pop(name, None) for name in changes.names)
            forgotten += [queue for queue in found if queue is not None]
            if changes.reached >= changes.latest:
                return forgotten


def _is_newer(known: QueueRecord, record: QueueRecord) -> bool:
    if known.id == record.id:
        return known.version >= record.version
    return known.created_at_ms > record.created_at_ms
