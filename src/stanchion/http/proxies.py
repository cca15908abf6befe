"""Trusted proxies: whose word is taken for who the client is, and whether it came by TLS.

Only the headers of a peer with a trusted address are looked at; anybody can write a header. Of
those only X-Forwarded-For and X-Forwarded-Proto, which nearly every proxy writes: one that writes
these passes on RFC 7239's Forwarded as the client made it up, so that must never be believed beside
them. A header in doubt makes a request insecure, never secure. The gateway applies this to each
request before it looks at it.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple, Protocol

from stanchion.http.message import HttpRequest

_REMEMBERED_MAX = 4096
"""Addresses. They come from clients too, so there has to be an end to them."""
_ADDRESS_CHARACTERS_MAX = 64
"""With brackets, zone and port; nothing longer is remembered."""


class Proxies(Protocol):
    """What stands between clients and this server."""

    def apply(self, request: HttpRequest) -> None:
        """Make `peer_ip` and `secure` those of the client's own connection, if that is known."""
        ...


class NoProxies:
    """Every peer is a client."""

    def apply(self, request: HttpRequest) -> None:
        pass


class TrustedProxies:
    """Proxies in `networks`: addresses and CIDR blocks. Raises ValueError when one is neither."""

    def __init__(self, networks: Iterable[str]) -> None:
        trusted = tuple(ip_network(network) for network in networks)

        @lru_cache(maxsize=_REMEMBERED_MAX)
        def node(text: str) -> _Node | None:
            address = _address(text)
            if address is None:
                return None
            return _Node(str(address), any(address in network for network in trusted))

        self._node = node

    def apply(self, request: HttpRequest) -> None:
        peer = self._node(request.peer_ip)
        if peer is None or not peer.trusted:
            return
        headers = request.headers
        route, schemes = headers.get("x-forwarded-for"), headers.get("x-forwarded-proto")
        if route is None and schemes is None:
            return  # The proxy's own request, such as a health check, or one it does not look into.
        client_ip = request.peer_ip if route is None else self._client_ip(route)
        if client_ip is None:
            request.secure = False
            return
        request.peer_ip = client_ip
        request.secure = schemes is not None and _all_https(schemes)

    def _client_ip(self, route: str) -> str | None:
        """The last address that no trusted proxy has, or the first when all have; None when in
        doubt. What is left of it was there before the trusted proxies, and may be made up.
        """
        node = None
        for text in reversed(route.split(",")):
            text = text.strip(" \t")
            node = self._node(text) if len(text) <= _ADDRESS_CHARACTERS_MAX else None
            if node is None or not node.trusted:
                break
        return None if node is None else node.address


class _Node(NamedTuple):
    address: str
    trusted: bool


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Of `192.0.2.1`, `2001:db8::1`, and with the ports that some proxies add."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket:
            return None
    elif text.count(":") == 1:
        host, port = text[: text.index(":")], text[text.index(":") :]
    if port and not (port[0] == ":" and port.isascii() and port[1:].isdigit()):
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _all_https(schemes: str) -> bool:
    """Proxies in a row may each add a scheme, after one that a client made up."""
    return all(scheme.strip(" \t").lower() == "https" for scheme in schemes.split(","))
