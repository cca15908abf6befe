"""The suite of move tasks of every store, over a home and a shard that has all the messages."""

import pytest

pytest.importorskip("asyncpg")

from tests.store.test_moves import *  # noqa: F403

# Tasks are found by their source, and nobody can name one that is deleted.
del test_deleting_the_dead_letter_queue_fails_the_task  # noqa: F821
# About one process with a disk of its own.
del test_a_full_disk_makes_tasks_wait  # noqa: F821
