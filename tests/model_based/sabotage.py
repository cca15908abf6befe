"""Planted bugs: a store that is right but for one thing, by changing what goes in or comes out."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from stanchion.store.contract import (
    Claim,
    Claimed,
    ClaimFifo,
    Command,
    CreateQueue,
    DeleteOutcome,
    Flush,
    PurgeQueue,
    Send,
    SendFifo,
    Store,
    UpdateQueue,
)

Alter = Callable[[Any], Any]
DeadLetterRules = CreateQueue | UpdateQueue


class SabotagedStore:
    """Commands pass through one function on their way in, answers through another."""

    def __init__(self, store: Store, command: Alter, answer: Alter) -> None:
        self._store, self._command, self._answer = store, command, answer
        self.maintain, self.latest_ms, self.close = store.maintain, store.latest_ms, store.close

    def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        flush = self._store.execute([self._command(command) for command in commands], now_ms)
        return replace(flush, answers=[self._answer(answer) for answer in flush.answers])


def same(value: Any) -> Any:
    return value


def lease_ends_early(command: Any) -> Any:
    if isinstance(command, Claim | ClaimFifo) and command.visibility_ms:
        return replace(command, visibility_ms=command.visibility_ms - 1)
    return command


def loses_the_last_of_a_batch(command: Any) -> Any:
    if isinstance(command, Send) and len(command.messages) > 1:
        return replace(command, messages=command.messages[:-1])
    return command


def purge_does_nothing(command: Any) -> Any:
    return replace(command, queue_id=-1) if isinstance(command, PurgeQueue) else command


def one_receive_too_many(command: Any) -> Any:
    if isinstance(command, DeadLetterRules) and command.rules.dead_letter_queue is not None:
        rules = replace(command.rules, receive_count_max=command.rules.receive_count_max + 1)
        return replace(command, rules=rules)
    return command


def no_dead_letter_queue(command: Any) -> Any:
    if isinstance(command, DeadLetterRules):
        return replace(command, rules=replace(command.rules, dead_letter_queue=None))
    return command


def delay_is_not_retroactive(command: Any) -> Any:
    if isinstance(command, UpdateQueue):
        return replace(command, rules=replace(command.rules, delay_ms=0))
    return command


def deduplication_ends_early(command: Any) -> Any:
    if isinstance(command, SendFifo):
        return replace(command, deduplication_ms=command.deduplication_ms - 1)
    return command


def deduplication_forgets_groups(command: Any) -> Any:
    return replace(command, by_group=False) if isinstance(command, SendFifo) else command


def attempts_are_not_repeated(command: Any) -> Any:
    return replace(command, attempt_id=None) if isinstance(command, ClaimFifo) else command


def batches_are_reversed(answer: Any) -> Any:
    if isinstance(answer, Claimed):
        return replace(answer, messages=answer.messages[::-1])
    return answer


def expired_handles_are_good(answer: Any) -> Any:
    outcomes: dict[Any, DeleteOutcome] = {"expired": "deleted", "superseded": "deleted"}
    if isinstance(answer, tuple) and answer and answer[0] in outcomes:
        return tuple(outcomes.get(outcome, outcome) for outcome in answer)
    return answer
