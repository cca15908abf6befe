"""A machine that never caught anything proves nothing: each planted bug must be found."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.model_based import sabotage
from tests.model_based.sabotage import Alter, same
from tests.model_based.test_dead_letters import DeadLetters
from tests.model_based.test_fifo_dead_letters import FifoDeadLetters
from tests.model_based.test_fifo_queue import FifoQueues
from tests.model_based.test_standard_queue import StandardQueues

UNTIL_FOUND = settings(
    max_examples=1_000,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)


def _is_found(machine: type[RuleBasedStateMachine], command: Alter, answer: Alter = same) -> bool:
    class Sabotaged(machine):  # type: ignore[valid-type, misc]
        sabotage = staticmethod(lambda store: sabotage.SabotagedStore(store, command, answer))

    try:
        run_state_machine_as_test(Sabotaged, settings=UNTIL_FOUND)
    except (Exception, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize("machine", [StandardQueues, FifoQueues, DeadLetters, FifoDeadLetters])
def test_the_machines_find_nothing_where_nothing_is(
    machine: type[RuleBasedStateMachine],
) -> None:
    """Else whatever follows would be found in any case."""

    class Unharmed(machine):  # type: ignore[valid-type, misc]
        sabotage = staticmethod(lambda store: sabotage.SabotagedStore(store, same, same))

    run_state_machine_as_test(Unharmed, settings=settings(UNTIL_FOUND, max_examples=5))


@pytest.mark.parametrize(
    "bug",
    [
        sabotage.lease_ends_early,
        sabotage.loses_the_last_of_a_batch,
        sabotage.purge_does_nothing,
    ],
)
def test_on_standard_queues(bug: Alter) -> None:
    assert _is_found(StandardQueues, bug)


@pytest.mark.parametrize(
    "bug",
    [
        sabotage.lease_ends_early,
        sabotage.delay_is_not_retroactive,
        sabotage.deduplication_ends_early,
        sabotage.deduplication_forgets_groups,
        sabotage.attempts_are_not_repeated,
    ],
)
def test_on_fifo_queues(bug: Alter) -> None:
    assert _is_found(FifoQueues, bug)


@pytest.mark.parametrize("bug", [sabotage.batches_are_reversed, sabotage.expired_handles_are_good])
def test_in_answers_of_fifo_queues(bug: Alter) -> None:
    assert _is_found(FifoQueues, same, bug)


@pytest.mark.parametrize("machine", [DeadLetters, FifoDeadLetters])
@pytest.mark.parametrize("bug", [sabotage.one_receive_too_many, sabotage.no_dead_letter_queue])
def test_with_dead_letters(machine: type[RuleBasedStateMachine], bug: Alter) -> None:
    assert _is_found(machine, bug)
