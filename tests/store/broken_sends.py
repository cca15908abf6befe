"""Faults that PostgreSQL itself is made to have whenever a message is inserted, by a trigger."""

from tests.postgres import shared_database

FAULT = "fault"


def break_sends(action: str, *, at_commit: bool) -> None:
    """Do something whenever a message is inserted, or when that is committed. Once for a test."""
    query = shared_database().query
    query(f"CREATE SEQUENCE {FAULT}s")
    query(
        f"CREATE FUNCTION {FAULT}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {action}; RETURN NULL; END $$"
    )
    kind = "CONSTRAINT TRIGGER" if at_commit else "TRIGGER"
    when = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
    query(
        f"CREATE {kind} {FAULT} AFTER INSERT ON message {when}"
        f" FOR EACH ROW EXECUTE FUNCTION {FAULT}()"
    )


def mend() -> None:
    """No harm is done where nothing was broken."""
    shared_database().query(f"DROP FUNCTION IF EXISTS {FAULT}() CASCADE")
    shared_database().query(f"DROP SEQUENCE IF EXISTS {FAULT}s")


def raised(code: str, times: int) -> str:
    """An error of this code, so many times; what a sequence counts is never undone."""
    return (
        f"IF nextval('{FAULT}s') <= {times} THEN"
        f" RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END IF"
    )
