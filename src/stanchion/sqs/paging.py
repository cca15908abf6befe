"""Paging: MaxResults, and the NextTokens of lists that are in the order of a name.

A token says after which name the next page starts, and is authenticated together with the account,
the region and the prefix that it was made for. So it needs no storage, never expires, and cannot be
used to read another account's list. Called by the list actions.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

import msgspec
from msgspec import Struct

from stanchion.model.errors import InvalidParameterValue
from stanchion.sqs.limits import LIST_RESULTS_MAX

_MAC_BYTES = 16


def page_size(max_results: int | None, next_token: str | None) -> int:
    """How many results a page has. Raises `InvalidParameterValue`."""
    if max_results is not None and not 1 <= max_results <= LIST_RESULTS_MAX:
        raise InvalidParameterValue(
            "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer"
            f" between 1 and {LIST_RESULTS_MAX}."
        )
    if max_results is None and next_token is not None:
        raise InvalidParameterValue(
            "MaxResults is a mandatory parameter when you provide a value for NextToken."
        )
    return LIST_RESULTS_MAX if max_results is None else max_results


class Listing(Struct, frozen=True):
    """What is being listed; a token is good for the listing that it was made for."""

    account_id: str
    region: str
    prefix: str


def issue(secret: bytes, listing: Listing, after: str) -> str:
    """The token of the page that starts after the name `after`."""
    payload = msgspec.json.encode((listing.prefix, after))
    return urlsafe_b64encode(_mac(secret, listing, payload) + payload).decode()


def read(secret: bytes, listing: Listing, token: str) -> str:
    """The name after which the page starts. Raises `InvalidParameterValue`."""
    try:
        raw = urlsafe_b64decode(token.encode())
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        prefix, after = msgspec.json.decode(payload, type=tuple[str, str])
    except (ValueError, msgspec.MsgspecError):
        raise _invalid() from None
    if not hmac.compare_digest(mac, _mac(secret, listing, payload)):
        raise _invalid()
    if prefix != listing.prefix:
        raise InvalidParameterValue(
            "Invalid NextToken value. If you are passing in NextToken,"
            " you must not change the other request parameters."
        )
    return after


def _mac(secret: bytes, listing: Listing, payload: bytes) -> bytes:
    scope = msgspec.json.encode((listing.account_id, listing.region))
    return blake2b(scope + payload, key=secret, digest_size=_MAC_BYTES).digest()


def _invalid() -> InvalidParameterValue:
    return InvalidParameterValue("Invalid or expired next token.")
