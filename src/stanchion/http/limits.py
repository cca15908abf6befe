"""What the listener allows a client to hold, to send and to wait for.

Every limit has a refusal (`refusals.py`) or ends in a closed connection. Nothing here concerns
SQS's own limits; those are the service's, and are checked once a request is whole.
"""

from msgspec import Struct

FEED_BYTES = 16 * 1024
"""Input goes to the parser in pieces of at most this, which bounds how many pipelined requests
are parsed ahead of the one that runs."""

NEVER = 1 << 62
"""A deadline that no tick reaches."""


class HttpLimits(Struct, frozen=True):
    """Sizes in bytes, times in seconds with a resolution of one second (the listener's tick)."""

    connections_max: int = 10_000
    header_count_max: int = 100
    header_bytes_max: int = 32 * 1024
    target_bytes_max: int = 16 * 1024
    """The path and query string; a presigned Query request carries everything there."""
    body_bytes_max: int = 10 * 1024 * 1024
    """A message of 1 MiB of text takes at most 6 MiB as JSON (`\\u00XX` for each byte) and 3 MiB
    as a form (`%XX`); 9 MiB when a client percent-encodes each byte of three-byte characters
    and the escapes of a policy besides. The rest is for attributes, names and a session token."""
    buffered_bytes_max: int = 256 * 1024 * 1024
    """Over all connections: bodies of more than `FEED_BYTES`, from arrival until answered."""
    unread_bytes_max: int = 256 * 1024 * 1024
    """Over all connections: responses of which clients have not read enough to be sent another."""
    unparsed_bytes_max: int = 64 * 1024
    """Pipelined input kept while a request runs. Beyond it the socket is not read, which also
    hides the client's departure, so it is not zero."""
    header_timeout_s: int = 20
    """From the connection, or the first byte of a request, to the end of the request's head."""
    idle_timeout_s: int = 75
    """Longer than the idle time of usual client pools and load balancers (50-60 s), so that the
    client is the one who closes."""
    transfer_grace_s: int = 15
    """What a body, or a response that the client is slow to read, may take at any size ..."""
    transfer_bytes_per_s_min: int = 16 * 1024
    """... and this is how fast it has to move beyond that."""
    linger_timeout_s: int = 5
    """After a refusal: how long the client may go on sending before it reads the answer."""
    linger_bytes_max: int = 16 * 1024 * 1024
    lingering_max: int = 256
    """Connections beyond `connections_max` that are told so; any more are cut off unanswered."""
