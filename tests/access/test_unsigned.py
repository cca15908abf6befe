"""Requests without credentials: who they are from, and where they belong."""

import asyncio

import pytest

from stanchion.access.authenticator import SignatureAuthenticator
from stanchion.access.directory import Directory
from stanchion.access.sigv4 import Expectations
from stanchion.clock import SystemClock
from stanchion.http.message import HttpRequest
from tests.access.memory import Memory


@pytest.mark.parametrize(
    ("allowed", "region"),
    [((), "us-east-1"), (("eu-west-1", "eu-central-1"), "eu-central-1")],
)
def test_they_belong_to_the_first_region_that_is_allowed(
    allowed: tuple[str, ...], region: str
) -> None:
    memory = Memory()
    authenticator = SignatureAuthenticator(
        Directory(memory.documents), memory.ring, SystemClock(), Expectations(frozenset(allowed))
    )
    request = HttpRequest("POST", "/", "", {}, b"", False, "10.0.0.1")
    identity = asyncio.run(authenticator.authenticate(request))
    assert (identity.caller.kind, identity.region) == ("anonymous", region)
