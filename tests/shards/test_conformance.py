"""The suites of every store, over a home and a shard that has all the messages."""

import pytest

pytest.importorskip("asyncpg")

from tests.store.test_dead_letters import *  # noqa: F403
from tests.store.test_deduplication import *  # noqa: F403
from tests.store.test_fifo import *  # noqa: F403
from tests.store.test_messages import *  # noqa: F403
from tests.store.test_queues import *  # noqa: F403
from tests.store.test_records import *  # noqa: F403

# About commands in one flush, or all the wakes of one: here each command is a flush of its own.
for _name in (
    "test_a_queue_that_is_gone_answers_none",
    "test_a_claim_finds_what_the_same_flush_sends_and_frees",
    "test_large_messages_are_shared_among_the_claims_of_a_flush",
    "test_a_change_of_the_delay_wakes_everybody",
    "test_nobody_is_woken_for_what_the_same_flush_gave_away",
    "test_the_same_lease_twice_in_a_flush_is_gone_for_both",
    "test_messages_sent_in_the_flush_of_a_purge_stay_consistent",
    "test_commands_that_meet_a_deletion_find_no_queue",
    "test_a_flush_reports_what_comes_into_view_and_when",
):
    del globals()[_name]
