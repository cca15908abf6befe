"""What a process does when it is to end, or when somebody hangs up before it has begun."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from stanchion import server
from stanchion.store.contract import StoreBusy, Upkeep
from tests.store.virtual_loop import VirtualLoop, run

STARTING = """
import os, signal
from stanchion import workers

def work(worker):
    os.kill(os.getpid(), signal.SIGHUP)  # as it is passed on
    worker.ready("ready")
    signal.pause()

def announce(line):
    print(line, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

print(workers.supervise(1, work, announce, (), hang_up=True, end_within_s=10))
"""


def test_a_worker_that_is_starting_survives_a_hang_up() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STARTING], capture_output=True, text=True, timeout=30, check=False
    )
    ended_by_sigterm = "143"
    assert ended.stdout.split() == ["ready", ended_by_sigterm], ended.stderr


def test_the_end_of_the_supervisor_is_told_of_once() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[int] = loop.create_future()
        reading, writing = os.pipe()
        server._end_with(reading, outcome)
        os.close(writing)
        assert await asyncio.wait_for(outcome, 10) == 0
        assert loop.remove_reader(reading) is False, "it would be told of for ever"
        os.close(reading)

    asyncio.run(scenario())


class Slow:
    """A store whose steps of upkeep take their time."""

    def __init__(self, step_s: float, answer: int | Exception) -> None:
        self.step_s = step_s
        self.answer = answer
        self.begun_s: list[float] = []
        self.is_given_up = False

    async def run(self, command: Any) -> Any:
        assert isinstance(command, Upkeep)
        self.begun_s.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(self.step_s)
        except asyncio.CancelledError:
            self.is_given_up = True
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def told_to_end_at(end_s: float, store: Slow) -> float:
    """When a server notices that it is to end."""
    loop = VirtualLoop()

    async def scenario() -> float:
        outcome: asyncio.Future[int] = loop.create_future()
        loop.call_at(end_s, outcome.set_result, 3)
        assert await server._until(outcome, store) == 3
        return loop.now_s

    return run(loop, scenario())


@pytest.mark.parametrize("end_s", [0.5, 5.0])
def test_upkeep_does_not_delay_the_end(end_s: float) -> None:
    store = Slow(15, 0)
    assert told_to_end_at(end_s, store) == pytest.approx(end_s)
    assert store.is_given_up == (end_s > 1)


def test_upkeep_goes_on_at_the_pace_that_it_asks_for() -> None:
    store = Slow(0, 300)
    told_to_end_at(2, store)
    assert store.begun_s == pytest.approx([1, 1.3, 1.6, 1.9])


def test_upkeep_goes_on_after_a_failure() -> None:
    store = Slow(0, StoreBusy("not now"))
    told_to_end_at(3.5, store)
    assert store.begun_s == pytest.approx([1, 2, 3])
