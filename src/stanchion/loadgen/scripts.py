"""What one connection does, over and over: a generator per scenario.

A script yields an operation's name and the request's bytes, and is sent the reply's body, or None
when the request failed; failures are counted by whoever drives it. A script that returns is done.
"""

from collections.abc import Callable, Generator
from time import perf_counter_ns

from stanchion.loadgen.calls import Calls, ReceivedMessage, failed_entries, received
from stanchion.loadgen.tally import Tally

Script = Generator[tuple[str, bytes], bytes | None, None]
Counting = Callable[[], Tally]
"""Where to count now: the warm-up's tally is not the measured one."""

_EMPTY_RECEIVES_TO_END = 3
_EMPTY_FIFO_RECEIVES_TO_END = 30
"""While others have a message of each group in flight, there is nothing to receive either."""


def send(calls: Calls, counting: Counting) -> Script:
    """Sends for ever."""
    while True:
        yield from _send(calls, counting)


def receive_delete(calls: Calls, counting: Counting, fifo: bool = False) -> Script:
    """Receives and deletes, until several receives in a row find nothing."""
    empty_in_a_row = 0
    empty_to_end = _EMPTY_FIFO_RECEIVES_TO_END if fifo else _EMPTY_RECEIVES_TO_END
    while empty_in_a_row < empty_to_end:
        reply = yield "ReceiveMessage", calls.receive()
        if reply is None:
            continue
        messages = received(reply)
        empty_in_a_row = 0 if messages else empty_in_a_row + 1
        yield from _delete(calls, counting, messages)


def cycle(calls: Calls, counting: Counting) -> Script:
    """Sends, then receives and deletes as many messages as it has sent, whoever sent them."""
    owed = 0
    while True:
        started_ns = perf_counter_ns()
        owed += yield from _send(calls, counting)
        if owed <= 0:
            continue
        while owed > 0:
            reply = yield "ReceiveMessage", calls.receive()
            if reply is not None:
                messages = received(reply)
                owed -= len(messages)
                yield from _delete(calls, counting, messages)
        counting().cycles.record((perf_counter_ns() - started_ns) // 1000)


def long_poll(calls: Calls, counting: Counting, on_message: Callable[[], None]) -> Script:
    """Long polls for ever; tells when a message has arrived, then deletes it."""
    while True:
        reply = yield "ReceiveMessage", calls.receive()
        if reply is not None:
            messages = received(reply)
            if messages:
                on_message()
            yield from _delete(calls, counting, messages)


def _send(calls: Calls, counting: Counting) -> Generator[tuple[str, bytes], bytes | None, int]:
    """One send. Returns how many messages were accepted."""
    reply = yield calls.send_operation, calls.send()
    if reply is None:
        return 0
    accepted = calls.batch
    tally = counting()
    for code in failed_entries(reply) if calls.batch > 1 else ():
        tally.error(code)
        accepted -= 1
    tally.sent_messages += accepted
    return accepted


def _delete(calls: Calls, counting: Counting, messages: list[ReceivedMessage]) -> Script:
    if not messages:
        counting().empty_receives += 1
        return
    reply = yield calls.delete_operation, calls.delete(messages)
    if reply is None:
        return
    tally = counting()
    tally.deleted_messages += len(messages)
    for code in failed_entries(reply) if calls.batch > 1 else ():
        tally.error(code)
        tally.deleted_messages -= 1
