"""Fetching over real TLS from a server on this machine, and a real issuer from end to end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stanchion.access.entities import OidcProvider
from stanchion.access.identity import anonymous
from stanchion.http.tls import TlsFiles, server_context
from stanchion.model.sts import AssumeRoleWithWebIdentityRequest
from stanchion.sts import https
from stanchion.sts.https import FetchFailed
from tests.http.certificates import Authority
from tests.sqs.harness import START_MS
from tests.sts.harness import ACCOUNT, Service, trust
from tests.sts.issuer import jwk_of, rsa_key, signed

NOW_S = START_MS // 1000


class Server:
    """Answers each path with the bytes given for it, and hangs up; with None it says nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(request)
        answer = self.answers[request.split()[1].decode()]
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def serving(files: TlsFiles) -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", ssl=server_context(files))
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


def body(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "authority")


@pytest.fixture(scope="module")
def files(authority: Authority) -> TlsFiles:
    return authority.issue("server")


def run(files: TlsFiles, test: Callable[[Server], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serving(files) as server:
            await test(server)

    asyncio.run(main())


def test_bodies(files: TlsFiles, authority: Authority) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"

    async def test(server: Server) -> None:
        context = https.trusting(authority.path)
        for answer in (body(b"abc"), chunked, b"HTTP/1.1 200 OK\r\n\r\nabc"):
            server.answers["/a?b=c"] = answer
            assert await https.get(server.url("/a?b=c"), context) == b"abc"
        assert b"Host: 127.0.0.1:%d\r\n" % server.port in server.requests[0]

    run(files, test)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 600_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-Filler: %s\r\n" % (b"x" * 1000) * 600 + b"\r\n{}",
    ],
)
def test_answers_that_are_refused(files: TlsFiles, authority: Authority, answer: bytes) -> None:
    async def test(server: Server) -> None:
        server.answers = {"/": answer, "/other": body(b"{}")}
        with pytest.raises(FetchFailed):
            await https.get(server.url("/"), https.trusting(authority.path))
        assert len(server.requests) == 1

    run(files, test)


def test_a_server_that_says_nothing_is_given_up(files: TlsFiles, authority: Authority) -> None:
    async def test(server: Server) -> None:
        server.answers["/"] = None
        with pytest.raises(FetchFailed, match="TimeoutError"):
            await https.get(server.url("/"), https.trusting(authority.path), deadline_s=0.1)

    run(files, test)


def test_certificates_must_be_good(files: TlsFiles, authority: Authority) -> None:
    async def test(server: Server) -> None:
        server.answers["/"] = body(b"{}")
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await https.get(server.url("/"), https.trusting(None))
        by_name = server.url("/").replace("127.0.0.1", "localhost")
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await https.get(by_name, https.trusting(authority.path))
        assert server.requests == []

    run(files, test)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@127.0.0.1/",
        "https://127.0.0.1:0/",
        "https://127.0.0.1:99999/",
        "https://127.0.0.1/a b",
        "https://127.0.0.1/a\r\nX:y",
        "https://127.0.0.1/\u00e9",
        "https://[::1/",
    ],
)
def test_urls_that_are_not_asked(url: str) -> None:
    with pytest.raises(FetchFailed, match=r"is not an HTTPS URL|Port out of range|Invalid IPv6"):
        asyncio.run(https.get(url, https.trusting(None)))


def test_nobody_listens(files: TlsFiles) -> None:
    async def test(server: Server) -> None:
        with pytest.raises(FetchFailed, match="ConnectionRefusedError"):
            await https.get(f"https://127.0.0.2:{server.port}/", https.trusting(None))

    run(files, test)


def test_an_issuer_inside_the_cluster(files: TlsFiles, authority: Authority) -> None:
    """The certificate is by a CA that only `ca_file` knows; without it the issuer is away."""

    async def test(server: Server) -> None:
        url = f"https://127.0.0.1:{server.port}"
        server.answers = {
            "/.well-known/openid-configuration": _json({"issuer": url, "jwks_uri": f"{url}/jwks"}),
            "/jwks": _json({"keys": [jwk_of(rsa_key(), "rsa")]}),
        }
        answer = await _ask(Service(ca_file=authority.path), url)
        assert answer.subject_from_web_identity_token == "pod"
        assert len(server.requests) == 2

    run(files, test)


def _json(value: Any) -> bytes:
    return body(json.dumps(value).encode())


async def _ask(service: Service, url: str) -> Any:
    host = url.removeprefix("https://")
    provider = OidcProvider(url=host, client_ids=("web",), created_at_ms=0)
    service.put(provider, ACCOUNT, host)
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"
    role = service.role("Pod", trust({"Federated": arn}, "sts:AssumeRoleWithWebIdentity"))
    claims = {"iss": url, "aud": "web", "sub": "pod", "iat": NOW_S, "exp": NOW_S + 60}
    request = AssumeRoleWithWebIdentityRequest(
        role_arn=role, role_session_name="app", web_identity_token=signed(claims)
    )
    return await service.asking(request, anonymous("192.0.2.1"))
