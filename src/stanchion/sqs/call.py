"""The call being answered, apart from its parameters."""

from msgspec import Struct

from stanchion.access.identity import Caller


class Call(Struct, frozen=True, gc=False):
    """Who calls, in which region, and how it addressed us."""

    caller: Caller
    region: str
    """The region of the credential scope, which is a namespace of its own."""
    origin: str
    """Scheme and host that the client asked for; queue URLs are made of it."""
    path: str = "/"
    """The request's path: clients may name the queue there."""
