"""Who is calling, once it has been established."""

from msgspec import Struct


class Caller(Struct, frozen=True):
    """An authenticated principal."""

    account_id: str
    arn: str
    """For example `arn:aws:iam::000000000000:root`."""
    sender_id: str
    """What a message's SenderId says: the account id for root, a unique id for others."""
    access_key_id: str


def root_of(account_id: str, access_key_id: str) -> Caller:
    return Caller(account_id, f"arn:aws:iam::{account_id}:root", account_id, access_key_id)


class Identity(Struct, frozen=True, gc=False):
    """A caller, and where the credential scope says the call belongs."""

    caller: Caller
    region: str
    """A namespace of its own: any name that the operator allows."""
