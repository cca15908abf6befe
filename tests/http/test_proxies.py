"""Whose word is taken for who the client is."""

import pytest

from stanchion.http.message import HttpRequest
from stanchion.http.proxies import NoProxies, Proxies, TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "192.168.1.1", "2001:db8:1::/48"])


def seen(
    peer_ip: str,
    for_: str | None = None,
    proto: str | None = None,
    *,
    secure: bool = False,
    proxies: Proxies = PROXIES,
    **more: str,
) -> tuple[str, bool]:
    """The client's address and whether it came by TLS, as they are after `apply`."""
    headers = {"host": "sqs.example.com", **more}
    if for_ is not None:
        headers["x-forwarded-for"] = for_
    if proto is not None:
        headers["x-forwarded-proto"] = proto
    request = HttpRequest("POST", "/", "", headers, b"", secure, peer_ip)
    proxies.apply(request)
    return request.peer_ip, request.secure


def test_a_proxy_is_believed() -> None:
    assert seen("10.1.2.3", "203.0.113.9", "https") == ("203.0.113.9", True)
    assert seen("192.168.1.1", "2001:db8::9", "http") == ("2001:db8::9", False)
    assert seen("2001:db8:1::5", "203.0.113.9", "HTTPS") == ("203.0.113.9", True)


@pytest.mark.parametrize("peer_ip", ["203.0.113.1", "192.168.1.2", "2001:db8:2::5", ""])
@pytest.mark.parametrize("secure", [True, False])
def test_nobody_else_is(peer_ip: str, secure: bool) -> None:
    assert seen(peer_ip, "198.51.100.7", "https", secure=secure) == (peer_ip, secure)
    assert seen(peer_ip, "198.51.100.7", "http", secure=secure) == (peer_ip, secure)
    assert seen(peer_ip, "nonsense", "nonsense", secure=secure) == (peer_ip, secure)


@pytest.mark.parametrize("secure", [True, False])
def test_without_proxies_every_peer_is_a_client(secure: bool) -> None:
    for proxies in (NoProxies(), TrustedProxies([])):
        assert seen("10.1.2.3", "203.0.113.9", "https", secure=secure, proxies=proxies) == (
            "10.1.2.3",
            secure,
        )


def test_what_a_client_made_up_is_left_of_what_the_proxy_saw() -> None:
    assert seen("10.0.0.1", "198.51.100.7, 203.0.113.9", "https")[0] == "203.0.113.9"
    assert seen("10.0.0.1", "10.9.9.9,203.0.113.9", "https")[0] == "203.0.113.9"
    assert seen("10.0.0.1", "nonsense,203.0.113.9", "https") == ("203.0.113.9", True)


def test_proxies_in_a_row_are_passed_over() -> None:
    route = "198.51.100.7, 203.0.113.9, 192.168.1.1,\t10.0.0.2"
    assert seen("10.0.0.1", route, "https") == ("203.0.113.9", True)


def test_a_client_among_the_proxies() -> None:
    assert seen("10.0.0.1", "10.5.5.5, 10.0.0.2", "https") == ("10.5.5.5", True)


def test_a_proxys_own_requests_are_its_own() -> None:
    assert seen("10.0.0.1") == ("10.0.0.1", False)
    # TLS that it passed through, or spoke itself, was terminated here.
    assert seen("10.0.0.1", secure=True) == ("10.0.0.1", True)


def test_only_a_scheme() -> None:
    assert seen("10.0.0.1", proto="https") == ("10.0.0.1", True)
    assert seen("10.0.0.1", proto="http", secure=True) == ("10.0.0.1", False)


def test_tls_up_to_the_proxy_is_not_tls_of_the_client() -> None:
    assert seen("10.0.0.1", "203.0.113.9", "http", secure=True) == ("203.0.113.9", False)
    assert seen("10.0.0.1", "203.0.113.9", secure=True) == ("203.0.113.9", False)


@pytest.mark.parametrize(
    ("proto", "secure"),
    [
        ("https,https", True),
        ("https, https", True),
        # As of a client that made one up, and a proxy that added the truth.
        ("https,http", False),
        ("http,https", False),
        ("", False),
        ("https,", False),
        ("wss", False),
        ("https;", False),
    ],
)
def test_schemes(proto: str, secure: bool) -> None:
    assert seen("10.0.0.1", "203.0.113.9", proto) == ("203.0.113.9", secure)


@pytest.mark.parametrize(
    "route",
    [
        "",
        ",",
        "203.0.113.9,",
        "unknown",
        "_hidden",
        "203.0.113.9 198.51.100.7",
        "203.0.113.256",
        "203.0.113.9:",
        "203.0.113.9:http",
        "203.0.113.9:\u0661",
        "[2001:db8::9",
        "[2001:db8::9]x",
        "[2001:db8::9]8",
        "fe80::1%" + "x" * 100,
        "203.0.113.9, nonsense",
        "203.0.113.9, nonsense, 10.0.0.2",
    ],
)
def test_a_route_in_doubt_is_no_route_and_not_secure(route: str) -> None:
    assert seen("10.0.0.1", route, "https") == ("10.0.0.1", False)
    assert seen("10.0.0.1", route, "https", secure=True) == ("10.0.0.1", False)


@pytest.mark.parametrize(
    ("route", "client_ip"),
    [
        ("203.0.113.9:51234", "203.0.113.9"),
        ("[2001:db8::9]:51234", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("2001:DB8:0::9", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("198.51.100.7, ::ffff:10.0.0.2", "198.51.100.7"),
    ],
)
def test_ways_to_write_an_address(route: str, client_ip: str) -> None:
    assert seen("10.0.0.1", route, "https") == (client_ip, True)


def test_a_mapped_peer_is_the_proxy_that_it_is() -> None:
    assert seen("::ffff:10.0.0.1", "203.0.113.9", "https") == ("203.0.113.9", True)


def test_forwarded_is_not_read() -> None:
    made_up = {"forwarded": "for=198.51.100.7;proto=https"}
    assert seen("10.0.0.1", **made_up) == ("10.0.0.1", False)
    assert seen("10.0.0.1", "203.0.113.9", "http", **made_up) == ("203.0.113.9", False)


@pytest.mark.parametrize("network", ["10.0.0.0/33", "10.0.0.1/8", "proxy.example.com", ""])
def test_what_is_no_network(network: str) -> None:
    with pytest.raises(ValueError, match=r"network|host bits"):
        TrustedProxies([network])
