"""What a failure inside is to the operator, and how little of it clients are told."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stanchion.access.authenticator import Authenticator
from stanchion.clock import RandomIds
from stanchion.gateway import Gateway
from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.observe.metrics import Metrics
from stanchion.service import Service
from stanchion.store.contract import StoreFull, StoreUnreachable

REQUEST = HttpRequest(
    *("POST", "/", ""),
    {"x-amz-target": "AmazonSQS.ListQueues", "content-type": "application/x-amz-json-1.0"},
    *(b"{}", False, "192.0.2.1"),
)


class Failing:
    """Authenticates nobody, as its store has failed."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def authenticate(self, request: HttpRequest, service: str) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreFull("could not extend file base/5"), b"There is no space left for messages."),
        (StoreUnreachable("db.example.com:5432 is away"), b"The service cannot answer now"),
    ],
)
def test_what_a_database_says_is_for_the_log(
    error: Exception, told: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    service = cast(Service, SimpleNamespace(model=SimpleNamespace(name="sqs")))
    authenticator = cast(Authenticator, Failing(error))
    gateway = Gateway(authenticator, [service], RandomIds(), Metrics())
    with caplog.at_level(logging.INFO, logger="stanchion"):
        answered = gateway.handle(REQUEST)
        assert not isinstance(answered, HttpResponse)
        response = asyncio.run(answered)
    assert response.status == 503
    assert told in response.body
    assert str(error).encode() not in response.body
    assert caplog.records[-1].fields["error"] is error  # type: ignore[attr-defined]
