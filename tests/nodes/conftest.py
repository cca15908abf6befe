"""What the tests of several nodes share."""

from collections.abc import Iterator

import pytest

pytest.importorskip("asyncpg")

from tools.postgres_server import PostgresServer

from tests.nodes.rig import durable_postgres


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, which syncs what it commits."""
    with durable_postgres() as server:
        yield server
