"""The `fair` scenario: how long messages wait, with and without a tenant that floods the queue.

Consumers are as many as there are connections. Each receives at a fixed pace: it works on a message
for as long as it pauses when there is none. So as many come by without the flood as with it, and
what differs is what the queue does. (With a plan's `wait_s` they wait in the queue instead.) Quiet
tenants send at a fixed rate whatever happens: a message's time runs from the instant at which it
was due, so a server that stalls cannot hide it. It all happens in this process, and few requests a
second are enough, so this is written for clarity rather than for speed.
"""

import asyncio
from collections.abc import Iterable
from time import perf_counter_ns, time_ns

import msgspec
from msgspec import Struct, field

from stanchion.clock import SystemClock
from stanchion.loadgen.connection import Connection, connect, tls_context
from stanchion.loadgen.histogram import Histogram
from stanchion.loadgen.lane import error_code
from stanchion.loadgen.plan import BenchError, Plan
from stanchion.loadgen.signing import SignedOperation

_SENDERS = 16
_REPLY_MAX_S = 30.0
_RECONNECT_PAUSE_S = 0.2
_QUIET = "q"
"""The first letter of a quiet tenant's message; the flood's messages have none like it."""


class Pace(Struct, frozen=True):
    """What `fair` is asked for on top of a plan."""

    rate_per_s: float
    """Messages that all quiet tenants send together."""
    tenants: int
    processing_s: float
    """How long a consumer works on a message."""


class Dwell(Struct):
    """Times from when a message was due to be sent to when a consumer had it."""

    quiet: Histogram = field(default_factory=Histogram)
    flood: Histogram = field(default_factory=Histogram)
    """To the millisecond, by the server's SentTimestamp."""
    errors: dict[str, int] = field(default_factory=dict)

    def error(self, code: str) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1


async def measure(plan: Plan, pace: Pace, seconds: float, stop: asyncio.Event) -> Dwell:
    """Run producers and consumers; what is sent in the plan's warm-up is not counted.

    Raises `BenchError` when a connection cannot be opened.
    """
    requests = _Requests(plan, pace)
    warm_ns = perf_counter_ns() + int(plan.warmup_s * 1e9)
    dwell = Dwell()
    due: asyncio.Queue[int] = asyncio.Queue()
    clients = [_Client(plan, dwell) for _ in range(plan.connections + _SENDERS)]
    try:
        await asyncio.gather(*(client.open() for client in clients))
    except OSError as error:
        raise BenchError(f"cannot connect to {plan.endpoint.authority}: {error}") from None
    consumers, senders = clients[: plan.connections], clients[plan.connections :]
    tasks = [
        asyncio.create_task(_fall_due(due, pace.rate_per_s)),
        *(asyncio.create_task(_send(client, requests, due)) for client in senders),
        *(
            asyncio.create_task(_consume(client, requests, pace, warm_ns, n / len(consumers)))
            for n, client in enumerate(consumers)
        ),
    ]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping], timeout=plan.warmup_s + seconds)
    for task in (*tasks, stopping):
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for client in clients:
        client.close()
    _raise_first(outcomes)
    return dwell


def _raise_first(outcomes: Iterable[object]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _fall_due(due: "asyncio.Queue[int]", rate_per_s: float) -> None:
    """Say when the next message is to be sent, however far behind the senders are."""
    next_ns = perf_counter_ns()
    while True:
        await _sleep_until(next_ns)
        due.put_nowait(next_ns)
        next_ns += int(1e9 / rate_per_s)


async def _send(client: "_Client", requests: "_Requests", due: "asyncio.Queue[int]") -> None:
    while True:
        await client.ask(requests.send(await due.get()))


async def _consume(
    client: "_Client", requests: "_Requests", pace: Pace, warm_ns: int, phase: float
) -> None:
    """Receive, work until it is time for the next, delete. `phase` is a part of 1.

    Without long polls the times are fixed, so that a pause of the server, in which all consumers
    wait for it, does not make them come all together from then on.
    """
    period_ns = int(pace.processing_s * 1e9)
    next_ns = perf_counter_ns() + int(period_ns * phase)
    await _sleep_until(next_ns)
    while True:
        reply = await client.ask(requests.receive())
        received_ns = perf_counter_ns()
        messages = _decode_received(reply).messages if reply is not None else []
        if requests.wait_s:
            next_ns = received_ns + (period_ns if messages else 0)
        elif period_ns:
            next_ns += (max(0, received_ns - next_ns) // period_ns + 1) * period_ns
        for message in messages:
            _record(client.dwell, message, received_ns, warm_ns)
        await _sleep_until(next_ns)
        for message in messages:
            await client.ask(requests.delete(message.receipt_handle))


async def _sleep_until(instant_ns: int) -> None:
    await asyncio.sleep(max(0.0, (instant_ns - perf_counter_ns()) / 1e9))


def _record(dwell: Dwell, message: "_Message", received_ns: int, warm_ns: int) -> None:
    if received_ns < warm_ns:
        return
    if not message.body.startswith(_QUIET):
        sent_ms = int(message.attributes["SentTimestamp"])
        dwell.flood.record(max(0, time_ns() // 1_000_000 - sent_ms) * 1000)
    elif (due_ns := int(message.body[1:])) >= warm_ns:
        dwell.quiet.record((received_ns - due_ns) // 1000)


class _Message(Struct, rename="pascal"):
    receipt_handle: str
    body: str
    attributes: dict[str, str]


class _Received(Struct, rename="pascal"):
    messages: list[_Message] = []


_decode_received = msgspec.json.Decoder(_Received).decode


class _Requests:
    """What producers and consumers ask."""

    def __init__(self, plan: Plan, pace: Pace) -> None:
        def signed(operation: str) -> SignedOperation:
            return SignedOperation(plan.endpoint, plan.credentials, operation, clock)

        clock = SystemClock()
        self._queue_url = plan.queue_url
        self._tenants = pace.tenants
        self.wait_s = plan.wait_s
        self._sent = 0
        self._send = signed("SendMessage")
        self._receive = signed("ReceiveMessage")
        self._delete = signed("DeleteMessage")

    def send(self, due_ns: int) -> bytes:
        """A message of the tenant whose turn it is, which says when it was due."""
        self._sent += 1
        tenant = f"quiet-{self._sent % self._tenants}"
        return _signed(
            self._send,
            {
                "QueueUrl": self._queue_url,
                "MessageBody": f"{_QUIET}{due_ns}",
                "MessageGroupId": tenant,
            },
        )

    def receive(self) -> bytes:
        return _signed(
            self._receive,
            {
                "QueueUrl": self._queue_url,
                "MaxNumberOfMessages": 1,
                "WaitTimeSeconds": self.wait_s,
                "MessageSystemAttributeNames": ["SentTimestamp"],
            },
        )

    def delete(self, receipt_handle: str) -> bytes:
        return _signed(self._delete, {"QueueUrl": self._queue_url, "ReceiptHandle": receipt_handle})


def _signed(operation: SignedOperation, body: dict[str, object]) -> bytes:
    return operation.request(msgspec.json.encode(body))


class _Client:
    """A connection on which one request at a time is awaited; it connects again when it must."""

    def __init__(self, plan: Plan, dwell: Dwell) -> None:
        self.dwell = dwell
        self._endpoint = plan.endpoint
        self._tls = tls_context(plan.endpoint)
        self._connection: Connection | None = None
        self._reply: asyncio.Future[tuple[int, bytes] | None]

    async def open(self) -> None:
        """Connect. Raises OSError."""
        self._connection = await connect(self._endpoint, self._tls, self._on_reply, self._on_lost)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    async def ask(self, request: bytes) -> bytes | None:
        """The reply's body; None, after counting the error, when there is no good one."""
        if self._connection is None or self._connection.closing:
            try:
                await self.open()
            except OSError:
                self.dwell.error("ConnectionFailed")
                await asyncio.sleep(_RECONNECT_PAUSE_S)
                return None
        assert self._connection is not None
        self._reply = asyncio.get_running_loop().create_future()
        self._connection.write(request)
        async with asyncio.timeout(_REPLY_MAX_S):
            reply = await self._reply
        if reply is None:
            self.dwell.error("ConnectionLost")
            return None
        status, body = reply
        if status == 200:
            return body
        self.dwell.error(error_code(status, body))
        return None

    def _on_reply(self, status: int, body: bytes) -> None:
        if not self._reply.done():
            self._reply.set_result((status, body))

    def _on_lost(self) -> None:
        self._connection = None
        if hasattr(self, "_reply") and not self._reply.done():
            self._reply.set_result(None)
