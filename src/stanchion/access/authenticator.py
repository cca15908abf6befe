"""From a request to the identity that made it: the one question the gateway asks of this package.

`SignatureAuthenticator` is what a production server uses; it must never answer for a request whose
signature it has not verified. `DevAuthenticator` believes what it is told, and belongs behind a
loopback address only. Called by the gateway once per request, from the event loop.
"""

import re
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from stanchion.access import sigv4
from stanchion.access.canonical import SignedRequest
from stanchion.access.identity import Caller, Identity, root_of
from stanchion.clock import Clock
from stanchion.model.errors import InvalidClientTokenId
from stanchion.store.contract import AccessKey, GetAccessKey, StoreClient

Value = TypeVar("Value")

KNOWN_TTL_S = 10.0
"""How long a key is believed to be as it was read, when another node may have changed it."""
UNKNOWN_TTL_S = 1.0
"""How long a key stays unknown, so that a client with a wrong one costs no storage reads."""
REMEMBERED_KEYS_MAX = 4096
ACCESS_KEY_ID_CHARS_MAX = 128

DEV_ACCOUNT_ID = "000000000000"
DEV_REGION = "us-east-1"


class Authenticator(Protocol):
    """Who is calling."""

    async def authenticate(self, request: SignedRequest, service: str = "sqs") -> Identity:
        """The identity behind a request to `service`.

        Raises `AccessDenied` without credentials, `IncompleteSignature`, `InvalidClientTokenId`,
        `SignatureDoesNotMatch`; and `StoreError` when the key cannot be looked up.
        """
        ...


class _Known(Struct, frozen=True, gc=False):
    secret: str
    caller: Caller


class SignatureAuthenticator:
    """Believes only signatures. Keys come from the store and are remembered for a short time.

    Nothing is awaited while the caller's key is remembered.
    """

    def __init__(
        self,
        keys: StoreClient,
        clock: Clock,
        expectations: sigv4.Expectations | None = None,
        remembered_max: int = REMEMBERED_KEYS_MAX,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._expectations = expectations or sigv4.Expectations()
        # Two, so that a flood of made-up keys cannot push out those that exist.
        self._known: _Remembered[_Known] = _Remembered(KNOWN_TTL_S, remembered_max)
        self._unknown: _Remembered[bool] = _Remembered(UNKNOWN_TTL_S, remembered_max)

    async def authenticate(self, request: SignedRequest, service: str = "sqs") -> Identity:
        signature = sigv4.read(request)
        now_s = self._clock.wall_s()
        access_key_id = signature.scope.access_key_id
        key = self._known.get(access_key_id, now_s)
        if key is None:
            key = await self._look_up(access_key_id, now_s)
        if key is None or signature.has_token:
            # No key of ours comes with a session token, so any token is a wrong one.
            raise InvalidClientTokenId("The security token included in the request is invalid.")
        sigv4.verify(
            request,
            signature,
            key.secret,
            service=service,
            now_s=now_s,
            expectations=self._expectations,
        )
        return Identity(key.caller, signature.scope.region)

    async def _look_up(self, access_key_id: str, now_s: float) -> _Known | None:
        if not _is_access_key_id(access_key_id) or self._unknown.get(access_key_id, now_s):
            return None
        found: AccessKey | None = await self._keys.run(GetAccessKey(access_key_id))
        if found is None:
            self._unknown.put(access_key_id, True, now_s)
            return None
        known = _Known(found.secret, root_of(found.account_id, found.access_key_id))
        self._known.put(access_key_id, known, now_s)
        return known


def _is_access_key_id(text: str) -> bool:
    plain = text.replace("_", "").replace("-", "")
    return len(text) <= ACCESS_KEY_ID_CHARS_MAX and plain.isascii() and plain.isalnum()


class _Remembered(Generic[Value]):
    """Values that are believed for a while, at most so many of them."""

    def __init__(self, ttl_s: float, entries_max: int) -> None:
        self._ttl_s = ttl_s
        self._entries_max = entries_max
        self._entries: dict[str, tuple[float, Value]] = {}

    def get(self, name: str, now_s: float) -> Value | None:
        entry = self._entries.get(name)
        # An entry from the future was made before the clock was stepped back.
        if entry is None or not 0 <= now_s - entry[0] < self._ttl_s:
            return None
        return entry[1]

    def put(self, name: str, value: Value, now_s: float) -> None:
        self._entries.pop(name, None)
        if len(self._entries) >= self._entries_max:
            del self._entries[next(iter(self._entries))]
        self._entries[name] = (now_s, value)


class DevAuthenticator:
    """Believes everybody. An access key of 12 digits is the account; the region is as signed."""

    async def authenticate(self, request: SignedRequest, service: str = "sqs") -> Identity:
        match = _CREDENTIAL.search(request.headers.get("authorization", "") or request.query)
        if match is None:
            return Identity(root_of(DEV_ACCOUNT_ID, ""), DEV_REGION)
        access_key_id, region = match.groups()
        account_id = access_key_id if _ACCOUNT_ID.fullmatch(access_key_id) else DEV_ACCOUNT_ID
        return Identity(root_of(account_id, access_key_id), region)


# In a header, or percent-encoded in a query string; what is not needed may be missing.
_CREDENTIAL = re.compile(
    r"Credential=([^/,%&\s]*)(?:/|%2[Ff])[0-9]*(?:/|%2[Ff])([a-z0-9-]{1,32})(?:/|%2[Ff])"
)
_ACCOUNT_ID = re.compile("[0-9]{12}")
