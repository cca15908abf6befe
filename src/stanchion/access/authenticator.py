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
from stanchion.access.directory import Directory
from stanchion.access.entities import AccessKey, Account
from stanchion.access.identity import Caller, Identity, anonymous, root_of
from stanchion.access.key_use import KeyUses
from stanchion.access.sessions import NotASession, Session, Sessions
from stanchion.clock import Clock
from stanchion.keys.sealing import Sealer, Unsealable
from stanchion.model.errors import ExpiredToken, InvalidClientTokenId
from stanchion.store.documents import Draft

Value = TypeVar("Value")

UNKNOWN_TTL_S = 1.0
"""How long a key stays unknown, so that a client with a wrong one costs no storage reads."""
REMEMBERED_KEYS_MAX = 4096
ACCESS_KEY_ID_CHARS_MAX = 128

DEV_ACCOUNT_ID = "000000000000"
DEFAULT_REGION = "us-east-1"
"""Of those who do not say: unsigned requests have no credential scope."""


class Authenticator(Protocol):
    """Who is calling."""

    async def authenticate(self, request: SignedRequest, service: str = "sqs") -> Identity:
        """The identity behind a request to `service`; anonymous without credentials.

        Raises `IncompleteSignature`, `InvalidClientTokenId`, `SignatureDoesNotMatch`,
        `ExpiredToken`; and `StoreError` when the key cannot be looked up.
        """
        ...


class _Known(Struct, frozen=True):
    """What an access key stands for, as of `epoch` of the documents."""

    epoch: int
    secret: str
    caller: Caller
    token: str | None = None
    expires_at_s: float = float("inf")


class SignatureAuthenticator:
    """Believes only signatures. What keys stand for is remembered until any document changes.

    Nothing is awaited while the caller's key is remembered.
    """

    def __init__(
        self,
        directory: Directory,
        sealer: Sealer,
        clock: Clock,
        expectations: sigv4.Expectations | None = None,
        uses: KeyUses | None = None,
        remembered_max: int = REMEMBERED_KEYS_MAX,
    ) -> None:
        self._directory = directory
        self._documents = directory.documents
        self._sealer = sealer
        self._sessions = Sessions(sealer)
        self._clock = clock
        self._expectations = expectations or sigv4.Expectations()
        self._uses = uses
        # Two, so that a flood of made-up keys cannot push out those that exist.
        self._known: dict[str, _Known] = {}
        self._unknown: _Remembered[int] = _Remembered(UNKNOWN_TTL_S, remembered_max)
        self._remembered_max = remembered_max

    async def authenticate(self, request: SignedRequest, service: str = "sqs") -> Identity:
        signature = sigv4.read(request)
        if signature is None:
            return Identity(anonymous(request.peer_ip), self._default_region())
        now_s = self._clock.wall_s()
        access_key_id = signature.scope.access_key_id
        known = self._known.get(access_key_id)
        if known is None or known.epoch != self._documents.epoch or known.token != signature.token:
            # Another token is another session, or one that is made up.
            known = await self._look_up(access_key_id, signature.token, now_s)
        if known is None:
            raise InvalidClientTokenId("The security token included in the request is invalid.")
        sigv4.verify(
            request,
            signature,
            known.secret,
            service=service,
            now_s=now_s,
            expectations=self._expectations,
        )
        if now_s >= known.expires_at_s:
            raise ExpiredToken("The security token included in the request is expired")
        if self._uses is not None and known.token is None:
            self._uses.note(access_key_id, service, signature.scope.region, now_s)
        return Identity(known.caller, signature.scope.region)

    def _default_region(self) -> str:
        return min(self._expectations.regions, default=DEFAULT_REGION)

    async def _look_up(self, access_key_id: str, token: str | None, now_s: float) -> _Known | None:
        # Before anything is read: an edit meanwhile makes what was read stale at once.
        epoch = self._documents.epoch
        if not _is_access_key_id(access_key_id):
            return None
        if token is not None:
            # Whatever was asked without its token: nobody can keep a session out that way.
            known = await self._read_session(access_key_id, token, epoch)
        elif self._unknown.get(access_key_id, now_s) == epoch:
            return None
        else:
            known = await self._read_key(access_key_id, epoch)
        if known is None:
            if token is None:
                # A key that is made or activated, which is an edit, is known again at once.
                self._unknown.put(access_key_id, epoch, now_s)
            return None
        self._known.pop(access_key_id, None)
        if len(self._known) >= self._remembered_max:
            del self._known[next(iter(self._known))]
        self._known[access_key_id] = known
        return known

    async def _read_key(self, access_key_id: str, epoch: int) -> _Known | None:
        # Not through the cache, where made-up keys would push out what exists.
        key, _ = await self._documents.read(AccessKey, "", access_key_id)
        if key is None or not key.is_active:
            return None
        caller = await self._directory.caller_of_key(key)
        if caller is None:
            return None
        try:
            secret = self._sealer.open(f"access-key:{access_key_id}", key.sealed_secret)
        except Unsealable:
            return None
        return _Known(epoch, secret.decode(), caller)

    async def _read_session(self, access_key_id: str, token: str, epoch: int) -> _Known | None:
        try:
            session: Session = self._sessions.open(access_key_id, token)
        except NotASession:
            return None
        caller = await self._directory.caller_of_session(session)
        if caller is None:
            return None
        return _Known(epoch, session.secret, caller, token, session.expires_at_s)


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
    """Believes everybody. An access key of 12 digits is the account; the region is as signed.

    Keys and sessions that were made here stand for whom they were made, so that policies can be
    tried out; any other key is its account's root user. There is an account as soon as its root
    user calls.
    """

    def __init__(self, directory: Directory, sealer: Sealer, clock: Clock) -> None:
        self._directory = directory
        self._sessions = Sessions(sealer)
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[int, Caller]] = {}

    async def authenticate(self, request: SignedRequest, service: str = "sqs") -> Identity:
        match = _CREDENTIAL.search(request.headers.get("authorization", "") or request.query)
        access_key_id, region = match.groups() if match else ("", DEFAULT_REGION)
        key = (access_key_id, request.headers.get("x-amz-security-token", ""))
        epoch = self._directory.documents.epoch
        known = self._known.get(key)
        if known is None or known[0] != epoch:
            if len(self._known) >= REMEMBERED_KEYS_MAX:
                self._known.clear()
            known = self._known[key] = (epoch, await self._caller(*key))
        return Identity(known[1], region)

    async def _caller(self, access_key_id: str, token: str) -> Caller:
        found = await self._made_here(access_key_id, token)
        if found is not None:
            return found
        account_id = access_key_id if _ACCOUNT_ID.fullmatch(access_key_id) else DEV_ACCOUNT_ID
        await self._ensure_account(account_id)
        return root_of(account_id, access_key_id)

    async def _made_here(self, access_key_id: str, token: str) -> Caller | None:
        if token:
            try:
                session = self._sessions.open(access_key_id, token)
            except NotASession:
                return None
            return await self._directory.caller_of_session(session)
        key, _ = await self._directory.documents.read(AccessKey, "", access_key_id)
        return await self._directory.caller_of_key(key) if key and key.is_active else None

    async def _ensure_account(self, account_id: str) -> None:
        account = Account(id=account_id, created_at_ms=self._clock.now_ms())

        async def work(draft: Draft) -> None:
            if await draft.get(Account, "", account_id) is None:
                draft.put(account, "", account_id)

        await self._directory.documents.change(work)


# In a header, or percent-encoded in a query string; what is not needed may be missing.
_CREDENTIAL = re.compile(
    r"Credential=([^/,%&\s]*)(?:/|%2[Ff])[0-9]*(?:/|%2[Ff])([a-z0-9-]{1,32})(?:/|%2[Ff])"
)
_ACCOUNT_ID = re.compile("[0-9]{12}")
