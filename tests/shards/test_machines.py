"""The random walks of every store over shards, while queues are moved from one to the other."""

import pytest

pytest.importorskip("asyncpg")

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from stanchion.store.contract import Store
from tests.shards.fleet import BlockingShards
from tests.store.test_redrive_machine import Redrive

_FEW = settings(derandomize=True, max_examples=4, stateful_step_count=15, deadline=None)


class RedriveOverShards(Redrive):
    # A task ends when its source leaves the shard, which the model does not know.
    start_move = None

    def _open(self) -> Store:
        return BlockingShards("a", "b")

    @rule(name=st.sampled_from(("a", "b", "")), steps=st.integers(1, 4))
    def move(self, name: str, steps: int) -> None:
        """Begin to drain another shard, or none, and go on with what is on its way."""
        store = self.driver.store
        assert isinstance(store, BlockingShards)
        store.drain(name, steps)


class FifoRedriveOverShards(RedriveOverShards):
    is_fifo = True


TestRedriveOverShards = RedriveOverShards.TestCase
TestFifoRedriveOverShards = FifoRedriveOverShards.TestCase
TestRedriveOverShards.settings = _FEW
TestFifoRedriveOverShards.settings = _FEW
