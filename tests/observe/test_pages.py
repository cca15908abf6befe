"""What a server tells without credentials: whether it is up, and its metrics."""

import asyncio
from collections.abc import Callable

from stanchion.gateway import Page
from stanchion.observe.metrics import Metrics
from stanchion.pages import pages


def found(
    outcome: "asyncio.Future[int]", is_reachable: Callable[[], bool]
) -> tuple[Page, Callable[[], bool]]:
    """The page that says whether it is ready, and what the metric says of it."""
    metrics = Metrics()
    made = pages(metrics, outcome, is_reachable)

    def is_ready() -> bool:
        text = made["/metrics"]().body.decode()
        assert "stanchion_ready 1.0\n" in text or "stanchion_ready 0.0\n" in text
        return "stanchion_ready 1.0\n" in text

    return made["/health/ready"], is_ready


def test_the_metric_says_what_the_page_says() -> None:
    loop = asyncio.new_event_loop()
    outcome: asyncio.Future[int] = loop.create_future()
    reachable = [True]
    page, is_ready = found(outcome, lambda: reachable[0])
    assert (page().status, page().body, is_ready()) == (200, b"ready\n", True)
    reachable[0] = False
    assert (page().status, is_ready()) == (503, False)
    assert page().body == b"the database cannot be reached\n"
    reachable[0] = True
    outcome.set_result(0)
    assert (page().status, page().body, is_ready()) == (503, b"stopping\n", False)
    loop.close()
