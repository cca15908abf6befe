"""The public keys of OIDC issuers, fetched where OpenID Connect Discovery says, or read from files.

An issuer that the operator gave a file for is never asked. Keys are kept for an hour; a token that
names another key makes them be fetched once more, though not often, as anybody may send such a
token. Callers at the same time share one fetch. Must only be asked for issuers that IAM knows.
Called by `web_identity.py`.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from stanchion.clock import Clock
from stanchion.observe import logs
from stanchion.sts import https
from stanchion.sts.https import FetchFailed

Jwk = Mapping[str, Any]
"""A JSON Web Key as it came: nothing of it is checked but that it has the members of an object."""

Fetch = Callable[[str], Awaitable[bytes]]
"""What a URL answers. Raises `FetchFailed`."""

KEPT_MS = 3_600_000
RENEWED_AFTER_MS = 30_000
"""How old keys have to be to be fetched again because a token names one that is not among them."""
RETRIED_AFTER_MS = 5_000
"""How long after a failure the issuer is left alone."""
KEYS_MAX = 200
"""Of one issuer: AWS takes 100 RSA and 100 EC keys."""
ISSUERS_MAX = 1024
FETCHES_MAX = 8
"""At the same time, of all issuers."""


class _Kept(Struct, frozen=True):
    """What is known of an issuer."""

    keys: tuple[Jwk, ...]
    fetched_at_ms: int | None
    """None: never."""
    tried_at_ms: int
    failure: str = ""
    """Why the last attempt came to nothing."""


_NOTHING = _Kept((), None, 0)


class Issuers:
    """Whose keys can be had. One per process.

    `jwks_files`: JWKS files by issuer URL. `ca_file`: CAs to trust beside those of the system,
    for issuers inside a cluster; raises `OSError` when it cannot be used.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        jwks_files: Mapping[str, Path] | None = None,
        ca_file: Path | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self._clock = clock
        self._jwks_files = dict(jwks_files or {})
        self._ca_file = ca_file
        # Reading the system's CAs takes a while, and most servers never ask an issuer.
        self._context: ssl.SSLContext | None = https.trusting(ca_file) if ca_file else None
        self._fetch = fetch or self._get
        self._kept: dict[str, _Kept] = {}
        self._fetches: dict[str, asyncio.Task[_Kept]] = {}
        self._turns = asyncio.Semaphore(FETCHES_MAX)

    async def keys(self, issuer: str, key_id: str | None) -> tuple[Jwk, ...]:
        """The keys of an issuer (`https://...`) with that id; all of them for None.

        Raises `FetchFailed` when the issuer has no keys to be had now.
        """
        found = _named(await self._keys(issuer, KEPT_MS), key_id)
        if not found:
            # It may have new ones.
            found = _named(await self._keys(issuer, RENEWED_AFTER_MS), key_id)
        return found

    async def _keys(self, issuer: str, age_ms_max: int) -> tuple[Jwk, ...]:
        """All keys of an issuer, if possible not older than that."""
        kept = self._kept.get(issuer)
        if kept is None or self._is_due(kept, age_ms_max):
            kept = await self._load_once(issuer)
        if not self._is_good(kept, KEPT_MS):
            raise FetchFailed(kept.failure)
        return kept.keys

    def _is_good(self, kept: _Kept, age_ms_max: int) -> bool:
        at_ms = kept.fetched_at_ms
        return at_ms is not None and self._clock.now_ms() - at_ms < age_ms_max

    def _is_due(self, kept: _Kept, age_ms_max: int) -> bool:
        if self._is_good(kept, age_ms_max):
            return False
        return self._clock.now_ms() - kept.tried_at_ms >= RETRIED_AFTER_MS

    async def _load_once(self, issuer: str) -> _Kept:
        task = self._fetches.get(issuer)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(issuer))
            self._fetches[issuer] = task
            task.add_done_callback(lambda _: self._fetches.pop(issuer))
        # Who asked first may leave before the answer is there; others wait for it too.
        return await asyncio.shield(task)

    async def _load(self, issuer: str) -> _Kept:
        """Fetch the keys, or note that this failed. What is good still is kept then."""
        begun_ms = self._clock.now_ms()
        try:
            async with self._turns:
                kept = _Kept(await self._fetched(issuer), begun_ms, begun_ms)
        except (FetchFailed, OSError) as error:
            before = self._kept.get(issuer, _NOTHING)
            now_ms = self._clock.now_ms()
            kept = _Kept(before.keys, before.fetched_at_ms, now_ms, str(error))
            logs.event(
                "the keys of an OIDC issuer cannot be had", logs.ERROR, issuer=issuer, error=error
            )
        self._kept.pop(issuer, None)
        if len(self._kept) >= ISSUERS_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[issuer] = kept
        return kept

    async def _fetched(self, issuer: str) -> tuple[Jwk, ...]:
        path = self._jwks_files.get(issuer)
        if path is not None:
            return _keys_of(await asyncio.to_thread(path.read_bytes))
        about = _object(await self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
        if about.get("issuer") != issuer:
            raise FetchFailed(f"{issuer} says that it is another issuer")
        jwks_url = about.get("jwks_uri")
        if not isinstance(jwks_url, str) or not jwks_url.startswith("https://"):
            raise FetchFailed(f"{issuer} does not say where its keys are")
        return _keys_of(await self._fetch(jwks_url))

    async def _get(self, url: str) -> bytes:
        if self._context is None:
            self._context = await asyncio.to_thread(https.trusting, None)
        return await https.get(url, self._context)


def _named(keys: tuple[Jwk, ...], key_id: str | None) -> tuple[Jwk, ...]:
    return keys if key_id is None else tuple(key for key in keys if key.get("kid") == key_id)


def _keys_of(data: bytes) -> tuple[Jwk, ...]:
    keys = _object(data).get("keys")
    if not isinstance(keys, list) or len(keys) > KEYS_MAX:
        raise FetchFailed(f"the answer is not a set of at most {KEYS_MAX} keys")
    return tuple(key for key in keys if isinstance(key, dict))


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FetchFailed("the answer is not JSON") from error
    if not isinstance(value, dict):
        raise FetchFailed("the answer is not a JSON object")
    return value
