"""Temporary credentials, once it has been decided that somebody gets them.

Called by the actions that make sessions.
"""

from datetime import UTC, datetime
from typing import TypedDict

from stanchion.access.sessions import Session
from stanchion.model.sts import Credentials
from stanchion.sts.service import Sts


class Fresh(TypedDict):
    """The members of a `Session` that are new with each one."""

    access_key_id: str
    secret: str
    issued_at_s: int
    expires_at_s: int


def fresh(sts: Sts, duration_s: int) -> Fresh:
    access_key_id, secret = sts.sessions.new_key()
    now_s = int(sts.clock.wall_s())
    return Fresh(
        access_key_id=access_key_id,
        secret=secret,
        issued_at_s=now_s,
        expires_at_s=now_s + duration_s,
    )


def issue(sts: Sts, session: Session) -> Credentials:
    issued = sts.sessions.issue(session)
    return Credentials(
        access_key_id=issued.access_key_id,
        secret_access_key=issued.secret,
        session_token=issued.token,
        expiration=datetime.fromtimestamp(session.expires_at_s, UTC),
    )
