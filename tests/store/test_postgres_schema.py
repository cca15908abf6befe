"""Whose schema it is, and what the role needs to bring it up to date."""

from collections.abc import Iterator

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.postgres import database
from tests.postgres import shared_database

ROLE = "stanchion_owner"
OWNED = "stanchion_owned"


@pytest.fixture
def owner_url() -> Iterator[str]:
    """A role that owns one schema, and may make no other."""
    shared = shared_database()
    shared.query(f"CREATE ROLE {ROLE} LOGIN")
    shared.query(f"CREATE SCHEMA {OWNED} AUTHORIZATION {ROLE}")
    yield shared.url.replace("stanchion@", f"{ROLE}@")
    shared.query(f"DROP OWNED BY {ROLE} CASCADE")
    shared.query(f"DROP ROLE {ROLE}")


def test_a_role_that_owns_nothing_but_the_schema_will_do(owner_url: str) -> None:
    async def migrate() -> int:
        connection = await database.connect(owner_url, OWNED)
        try:
            await database.migrate(connection, OWNED)
            await database.migrate(connection, OWNED)
            tables: int = await connection.fetchval(
                "SELECT count(*) FROM pg_tables WHERE schemaname = $1", OWNED
            )
            return tables
        finally:
            await connection.close()

    assert shared_database().loop.run(migrate()) > 10
