"""What a connection does next, given what it is told; no network."""

import json
from typing import Any

import pytest

from stanchion.clock import SystemClock
from stanchion.loadgen import scripts
from stanchion.loadgen.calls import Calls
from stanchion.loadgen.lane import error_code
from stanchion.loadgen.tally import Tally
from tests.loadgen.plans import plan


class _Driver:
    """Feeds a script replies and notes what it asks for."""

    def __init__(self, script: Any, batch: int = 1, **more: Any) -> None:
        self.tally = Tally()
        calls = Calls(plan(batch=batch), SystemClock())
        self._script = script(calls, lambda: self.tally, **more)
        self.request = b""
        self.asked = [self._asked(None)]

    def reply(self, given: Any) -> None:
        self.asked.append(self._asked(None if given is None else json.dumps(given).encode()))

    def _asked(self, reply: bytes | None) -> str:
        operation, self.request = self._script.send(reply)
        return str(operation)


def _messages(*handles: str) -> dict[str, Any]:
    return {"Messages": [{"ReceiptHandle": handle, "Body": "b"} for handle in handles]}


def test_a_cycle_sends_receives_and_deletes() -> None:
    driver = _Driver(scripts.cycle)
    driver.reply({"MessageId": "m"})
    driver.reply(_messages("handle-1"))
    assert b"handle-1" in driver.request
    driver.reply({})
    assert driver.asked == ["SendMessage", "ReceiveMessage", "DeleteMessage", "SendMessage"]
    assert driver.tally.cycles.total() == 1
    assert (driver.tally.sent_messages, driver.tally.deleted_messages) == (1, 1)


def test_a_cycle_receives_again_when_there_was_nothing() -> None:
    driver = _Driver(scripts.cycle)
    driver.reply({"MessageId": "m"})
    driver.reply({})
    driver.reply(None)
    assert driver.asked == ["SendMessage", *["ReceiveMessage"] * 3]
    assert driver.tally.empty_receives == 1


def test_a_cycle_begins_again_when_the_send_failed() -> None:
    driver = _Driver(scripts.cycle)
    driver.reply(None)
    assert driver.asked == ["SendMessage", "SendMessage"]
    assert driver.tally.sent_messages == 0


def test_a_cycle_of_batches_receives_until_it_has_taken_what_it_sent() -> None:
    driver = _Driver(scripts.cycle, batch=3)
    driver.reply({"Successful": []})
    driver.reply(_messages("a", "b"))
    driver.reply({"Successful": []})
    driver.reply(_messages("c", "d"))
    driver.reply({"Successful": []})
    pair = ["ReceiveMessage", "DeleteMessageBatch"]
    assert driver.asked == ["SendMessageBatch", *pair, *pair, "SendMessageBatch"]
    assert driver.tally.deleted_messages == 4


def test_failed_entries_are_errors_and_not_messages() -> None:
    driver = _Driver(scripts.send, batch=3)
    driver.reply({"Failed": [{"Id": "1", "Code": "Throttled"}]})
    assert driver.tally.errors == {"Throttled": 1}
    assert driver.tally.sent_messages == 2


def test_receiving_ends_when_the_backlog_has() -> None:
    driver = _Driver(scripts.receive_delete)
    driver.reply(_messages("a"))
    driver.reply({})
    driver.reply({})
    driver.reply({})
    with pytest.raises(StopIteration):
        driver.reply({})
    assert driver.tally.deleted_messages == 1
    assert driver.tally.empty_receives == 3


def test_a_long_poll_tells_of_a_message_at_once_and_polls_again_when_there_is_none() -> None:
    arrived: list[bool] = []
    driver = _Driver(scripts.long_poll, on_message=lambda: arrived.append(True))
    driver.reply({})
    assert arrived == []
    driver.reply(_messages("a"))
    assert arrived == [True]
    assert driver.asked == ["ReceiveMessage", "ReceiveMessage", "DeleteMessage"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}', "QueueDoesNotExist"),
        (b'{"__type":"ThrottlingException"}', "ThrottlingException"),
        (b"<html>", "HTTP 502"),
        (b"[]", "HTTP 502"),
        (b"{}", "HTTP 502"),
    ],
)
def test_an_error_is_named_by_its_shape_or_else_its_status(body: bytes, code: str) -> None:
    assert error_code(502, body) == code
