"""A service whose providers of data keys count what they are asked, and refuse as they are told."""

import asyncio
import os
from collections import Counter
from typing import Any

from msgspec import structs

from stanchion.access.identity import Caller
from stanchion.keys.data_keys import DataKeys
from stanchion.keys.providers import (
    KMS,
    RING,
    NewDataKey,
    RingProvider,
    kms_unwrapped,
    kms_wrapped,
)
from stanchion.keys.ring import KeyRing
from stanchion.keys.sealing import Unsealable
from stanchion.model.sqs import Message, ReceiveMessageRequest, SendMessageRequest
from stanchion.service import Call
from stanchion.sqs.encryption import Bodies
from stanchion.store.contract import Send, SendFifo
from tests.sqs.harness import ACCOUNT, REGION, Service

PERIOD_S = 300
OUTAGE_MAX_S = 3600
TEXT = "who may read this?"


class Provider:
    """A KMS that counts what it is asked, refuses as it is told, and knows who may what."""

    outage_max_s = OUTAGE_MAX_S
    epoch = 0

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.contexts: set[str] = set()
        self.fault: Exception | None = None
        self.gate: asyncio.Event | None = None
        self._made: dict[bytes, tuple[bytes, str]] = {}

    @property
    def waits(self) -> bool:
        return self.gate is not None

    async def _asked(self, operation: str, context: Any, call: Call) -> str:
        self.calls.append((operation, call.caller.arn.rpartition("/")[2]))
        self.contexts |= context.keys()
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return str(context["aws:sqs:arn"])

    async def generate(self, key_id: str, context: Any, on_behalf: Call) -> NewDataKey:
        arn = await self._asked("generate", context, on_behalf)
        key, blob = os.urandom(32), os.urandom(16)
        self._made[blob] = (key, arn)
        return NewDataKey(key, kms_wrapped(key_id, blob))

    async def unwrap(self, wrapped: bytes, context: Any, on_behalf: Call) -> bytes:
        asked = await self._asked("unwrap", context, on_behalf)
        key, arn = self._made[kms_unwrapped(wrapped)[1]]
        if arn != asked:
            raise Unsealable("another context")
        return key


class Ring(RingProvider):
    """The key ring, which counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(KeyRing.ephemeral(), os.urandom)
        self.calls: Counter[str] = Counter()

    async def generate(self, key_id: str, context: Any, on_behalf: Any) -> NewDataKey:
        self.calls["generate"] += 1
        return await super().generate(key_id, context, on_behalf)

    async def unwrap(self, wrapped: bytes, context: Any, on_behalf: Any) -> bytes:
        self.calls["unwrap"] += 1
        return await super().unwrap(wrapped, context, on_behalf)


class Sealing(Service):
    """A service with both providers. The caller comes over TLS."""

    def __init__(self) -> None:
        super().__init__()
        self.kms, self.ring = Provider(), Ring()
        self.bodies = Bodies(DataKeys({KMS: self.kms, RING: self.ring}, self.clock))
        self.sqs = structs.replace(self.sqs, bodies=self.bodies)
        self.call = structs.replace(self.call, is_secure=True)

    def with_key(self, name: str = "q", **attributes: str) -> str:
        return self.create(name, KmsMasterKeyId="alias/k", **attributes)

    def send(
        self, call: Call | None = None, queue: str = "q", body: str = TEXT, **more: Any
    ) -> Any:
        return self.do(SendMessageRequest(queue_url=queue, message_body=body, **more), call)

    def receive(self, call: Call | None = None, queue: str = "q", **more: Any) -> list[Message]:
        more = {"visibility_timeout": 0, "max_number_of_messages": 10} | more
        found = self.do(ReceiveMessageRequest(queue_url=queue, **more), call).messages
        return found or []

    def bodies_received(self, call: Call | None = None, queue: str = "q") -> list[str | None]:
        return [message.body for message in self.receive(call, queue)]

    def stored(self) -> list[bytes]:
        """Bodies as the last command had them."""
        command = self.store.commands[-1]
        assert isinstance(command, Send | SendFifo)
        return [message.body for message in command.messages]


def by(name: str) -> Call:
    """A call of a role with that name, in the queues' account."""
    caller = Caller("root", ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}", "sender")
    return Call(caller, REGION, "https://localhost:9324", is_secure=True)
