"""Bodies that were moved in the database, or altered there, are kept back and not delivered.

Each case has queues of its own: `live` and `other`, whose dead-letter queue is `dead`. The server
is stopped, all cases are played on the database, and what every queue then gives is looked at.
"""

import json
import re
from collections.abc import Callable, Mapping
from sqlite3 import Connection

import pytest
from msgspec import Struct

from tests.access_control.stage import ACCOUNT, REGION, Stage, queue_arn
from tests.encryption.rig import Installation, metric, receive
from tests.encryption.story import MODES

ENCRYPTED = [mode for mode in MODES if mode != "off"]
QUEUES = ("live", "other", "dead")
MESSAGES = 3
RECEIVE_COUNT_MAX = 2
LOG_LINE = "a body does not open and is not delivered"

Ids = Mapping[str, str]
"""Message ids by body: `live 0` to `live 2`, `other 0` and so on."""


class Outcome(Struct):
    gone: set[str]
    """Bodies that no queue gives any more."""
    kept_back: dict[str, int]
    """How many messages each queue must not deliver."""


# --- What somebody may do -------------------------------------------------------------------------


def bodies_swapped(db: Connection, ids: Ids) -> Outcome:
    _exchange(db, "message_body", "body", ids["live 0"], ids["live 1"])
    return Outcome({"live 0", "live 1"}, {"live": 2})


def body_copied_to_another_queue(db: Connection, ids: Ids) -> Outcome:
    _set_body(db, ids["other 0"], _body(db, ids["live 0"]))
    return Outcome({"other 0"}, {"other": 1})


def message_put_into_another_queue(db: Connection, ids: Ids) -> Outcome:
    _put_beside(db, ids["live 0"], ids["other 0"])
    return Outcome({"live 0"}, {"other": 1})


def message_put_elsewhere_with_a_made_up_provenance(db: Connection, ids: Ids) -> Outcome:
    _put_beside(db, ids["live 0"], ids["other 0"])
    origin = [[ACCOUNT, REGION, "live"], ids["live 0"], "00" * 16]
    _set_provenance(db, ids["live 0"], json.dumps(origin).encode())
    return Outcome({"live 0"}, {"other": 1})


def message_put_elsewhere_with_the_provenance_of_another(db: Connection, ids: Ids) -> Outcome:
    _put_beside(db, ids["live 0"], ids["dead 0"])
    _set_provenance(db, ids["live 0"], _provenance(db, ids["dead 0"]))
    return Outcome({"live 0"}, {"dead": 1})


def dead_letter_copied_elsewhere(db: Connection, ids: Ids) -> Outcome:
    """With its provenance, which is genuine where it was."""
    assert _provenance(db, ids["dead 0"]) is not None
    _set_body(db, ids["other 0"], _body(db, ids["dead 0"]))
    _set_provenance(db, ids["other 0"], _provenance(db, ids["dead 0"]))
    return Outcome({"other 0"}, {"other": 1})


def provenances_swapped(db: Connection, ids: Ids) -> Outcome:
    _exchange(db, "message", "provenance", ids["dead 0"], ids["dead 1"])
    return Outcome({"dead 0", "dead 1"}, {"dead": 2})


def provenance_damaged(db: Connection, ids: Ids) -> Outcome:
    _set_provenance(db, ids["dead 0"], None)
    _set_provenance(db, ids["dead 1"], b"\xff")
    _set_provenance(db, ids["dead 2"], _flipped(_provenance(db, ids["dead 2"]) or b"", -4))
    return Outcome({"dead 0", "dead 1", "dead 2"}, {"dead": 3})


def message_id_changed(db: Connection, ids: Ids) -> Outcome:
    db.execute(
        "UPDATE message_body SET message_id = ? WHERE message_id = ?",
        ("00000000-0000-4000-8000-000000000000", ids["live 0"]),
    )
    return Outcome({"live 0"}, {"live": 1})


def bytes_altered_at_the_end(db: Connection, ids: Ids) -> Outcome:
    """In the tag, the text, and the nonce."""
    tail = 16 + len("live 0")
    for number, position in enumerate((-1, -tail, -tail - 12)):
        _set_body(db, ids[f"live {number}"], _flipped(_body(db, ids[f"live {number}"]), position))
    return Outcome({"live 0", "live 1", "live 2"}, {"live": 3})


def bytes_altered_at_the_beginning(db: Connection, ids: Ids) -> Outcome:
    """What it is, how long its wrapped data key is, and whose that is."""
    for number in range(3):
        _set_body(db, ids[f"live {number}"], _flipped(_body(db, ids[f"live {number}"]), number))
    return Outcome({"live 0", "live 1", "live 2"}, {"live": 3})


def data_key_altered(db: Connection, ids: Ids) -> Outcome:
    end = -16 - len("live 0") - 12
    _set_body(db, ids["live 0"], _flipped(_body(db, ids["live 0"]), end - 1))
    _set_body(db, ids["live 1"], _flipped(_body(db, ids["live 1"]), 3))
    return Outcome({"live 0", "live 1"}, {"live": 2})


def bodies_cut_short(db: Connection, ids: Ids) -> Outcome:
    for body, end in ("live 0", -1), ("live 1", 10), ("live 2", 0):
        _set_body(db, ids[body], _body(db, ids[body])[:end])
    return Outcome({"live 0", "live 1", "live 2"}, {"live": 3})


def queues_renamed(db: Connection, ids: Ids) -> Outcome:
    """Each of two queues takes the other's name."""
    both = [db.execute(_QUEUE_OF, (ids[body],)).fetchone() for body in ("live 0", "other 0")]
    (first, first_name), (second, second_name) = both
    for queue_id, name in (first, "for a moment"), (second, first_name), (first, second_name):
        db.execute("UPDATE queue SET name = ? WHERE id = ?", (name, queue_id))
    gone = {f"{queue} {number}" for queue in ("live", "other") for number in range(MESSAGES)}
    return Outcome(gone, {"live": MESSAGES, "other": MESSAGES})


_QUEUE_OF = """
SELECT id, name FROM queue WHERE backlog = (
    SELECT backlog FROM message JOIN message_body USING (sequence) WHERE message_id = ?
)
"""


def text_put_in_the_place_of_a_body(db: Connection, ids: Ids) -> Outcome:
    """This is delivered: a queue may well hold messages that were sent, or moved there, without
    encryption. Whoever writes to the database may write a policy too, and send what they like.
    """
    _set_body(db, ids["live 0"], b"live 0")
    return Outcome(set(), {})


CASES: dict[str, Callable[[Connection, Ids], Outcome]] = {
    function.__name__: function
    for function in (
        bodies_swapped,
        body_copied_to_another_queue,
        message_put_into_another_queue,
        message_put_elsewhere_with_a_made_up_provenance,
        message_put_elsewhere_with_the_provenance_of_another,
        dead_letter_copied_elsewhere,
        provenances_swapped,
        provenance_damaged,
        message_id_changed,
        bytes_altered_at_the_end,
        bytes_altered_at_the_beginning,
        data_key_altered,
        bodies_cut_short,
        queues_renamed,
        text_put_in_the_place_of_a_body,
    )
}

_SEQUENCE = "(SELECT sequence FROM message_body WHERE message_id = ?)"


def _body(db: Connection, message_id: str) -> bytes:
    (body,) = db.execute(
        "SELECT body FROM message_body WHERE message_id = ?", (message_id,)
    ).fetchone()
    assert isinstance(body, bytes)
    return body


def _set_body(db: Connection, message_id: str, body: bytes) -> None:
    db.execute("UPDATE message_body SET body = ? WHERE message_id = ?", (body, message_id))


def _provenance(db: Connection, message_id: str) -> bytes | None:
    (found,) = db.execute(
        f"SELECT provenance FROM message WHERE sequence = {_SEQUENCE}", (message_id,)
    ).fetchone()
    return found.encode() if isinstance(found, str) else found


def _set_provenance(db: Connection, message_id: str, provenance: bytes | None) -> None:
    db.execute(
        f"UPDATE message SET provenance = ? WHERE sequence = {_SEQUENCE}", (provenance, message_id)
    )


def _put_beside(db: Connection, message_id: str, other_id: str) -> None:
    """Into the queue of another message."""
    db.execute(
        "UPDATE message SET dead_letter_source = NULL, "
        f"backlog = (SELECT backlog FROM message WHERE sequence = {_SEQUENCE}) "
        f"WHERE sequence = {_SEQUENCE}",
        (other_id, message_id),
    )


def _exchange(db: Connection, table: str, column: str, first_id: str, second_id: str) -> None:
    both = [
        db.execute(f"SELECT {column} FROM {table} WHERE sequence = {_SEQUENCE}", (one,)).fetchone()
        for one in (first_id, second_id)
    ]
    assert both[0] != both[1]
    for (value,), message_id in zip(both, (second_id, first_id), strict=True):
        db.execute(
            f"UPDATE {table} SET {column} = ? WHERE sequence = {_SEQUENCE}", (value, message_id)
        )


def _flipped(data: bytes, position: int) -> bytes:
    altered = bytearray(data)
    altered[position] ^= 1
    return bytes(altered)


# --- What comes of it -----------------------------------------------------------------------------


class Aftermath(Struct):
    """What the queues gave, by mode and case."""

    wanted: dict[tuple[str, str], Outcome]
    given: dict[tuple[str, str], dict[str, list[str]]]
    """Bodies by queue, of all receives together."""
    left: dict[tuple[str, str], int]
    """Messages in the dead-letter queue in the end."""
    noticed: float
    log: str


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    installation = Installation(tmp_path_factory.mktemp("by-hand"))
    found = Aftermath({}, {}, {}, 0, "")
    pairs = [(mode, case) for mode in ENCRYPTED for case in CASES]
    with installation.serving() as stage:
        ids = {pair: _prepared(stage, *pair) for pair in pairs}
    with installation.database() as db:
        for mode, case in pairs:
            found.wanted[mode, case] = CASES[case](db, ids[mode, case])
    with installation.serving() as stage:
        for pair in pairs:
            found.given[pair] = {queue: _given(stage, *pair, queue) for queue in QUEUES}
        found.noticed = metric(stage, "stanchion_unreadable_bodies_total")
    found.log = installation.log
    with installation.database() as db:
        for pair in pairs:
            (found.left[pair],) = db.execute(_COUNT, (_name(*pair, "dead"),)).fetchone()
    return found


def _prepared(stage: Stage, mode: str, case: str) -> Ids:
    """The queues of a case, with messages. Those of `dead` were moved there by the server."""
    sqs = stage.client("sqs", secure=True)
    policy = {
        "deadLetterTargetArn": queue_arn(_name(mode, case, "dead")),
        "maxReceiveCount": RECEIVE_COUNT_MAX,
    }
    redriving = {"RedrivePolicy": json.dumps(policy)}
    ids = {}

    def send(queue: str, what: str) -> None:
        for body in (f"{what} {number}" for number in range(MESSAGES)):
            name = _name(mode, case, queue)
            ids[body] = sqs.send_message(QueueUrl=name, MessageBody=body)["MessageId"]

    for queue in reversed(QUEUES):
        attributes = MODES[mode] | ({} if queue == "dead" else redriving)
        sqs.create_queue(QueueName=_name(mode, case, queue), Attributes=attributes)
    send("live", "dead")
    for wanted in (MESSAGES,) * RECEIVE_COUNT_MAX + (0,):
        assert len(receive(sqs, _name(mode, case, "live"), VisibilityTimeout=0)) == wanted
    send("live", "live")
    send("other", "other")
    return ids


def _name(mode: str, case: str, queue: str) -> str:
    return f"{mode}-{case}-{queue}"


def _given(stage: Stage, mode: str, case: str, queue: str) -> list[str]:
    """All that a queue delivers, until what it does not deliver is in the dead-letter queue."""
    sqs, name = stage.client("sqs", secure=True), _name(mode, case, queue)
    bodies = []
    for _ in range(RECEIVE_COUNT_MAX + 1):
        messages = receive(sqs, name, VisibilityTimeout=0)
        for message in messages:
            sqs.delete_message(QueueUrl=name, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(message["Body"])
    return bodies


_COUNT = """
SELECT count(*) FROM message JOIN queue ON queue.backlog = message.backlog WHERE queue.name = ?
"""


@pytest.mark.parametrize("mode", ENCRYPTED)
@pytest.mark.parametrize("case", CASES)
def test_what_does_not_belong_there_is_kept_back(
    aftermath: Aftermath, mode: str, case: str
) -> None:
    wanted, given = aftermath.wanted[mode, case], aftermath.given[mode, case]
    for queue in QUEUES:
        sent = {f"{queue} {number}" for number in range(MESSAGES)}
        assert sorted(given[queue]) == sorted(sent - wanted.gone)
    assert aftermath.left[mode, case] == sum(wanted.kept_back.values())


def test_each_time_is_counted_and_noted(aftermath: Aftermath) -> None:
    lines = [line for line in aftermath.log.splitlines() if LOG_LINE in line]
    times = 0
    for wanted in aftermath.wanted.values():
        for queue, messages in wanted.kept_back.items():
            # In the end it is received from the dead-letter queue, where it does not open either.
            before = 0 if queue == "dead" else RECEIVE_COUNT_MAX
            times += messages * (before + RECEIVE_COUNT_MAX + 1)
    # A client can cause as many as it likes, so there is an end to the lines, which they say.
    suppressed = sum(int(n) for n in re.findall(r" suppressed=(\d+)", aftermath.log))
    assert aftermath.noticed == times
    assert len(lines) < times
    assert suppressed > 0
    assert "Traceback" not in aftermath.log
