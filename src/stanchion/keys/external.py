"""A KMS elsewhere: AWS's own, or whatever else answers its API, reached through boto3.

The endpoint knows Stanchion's credentials only (those of the usual AWS environment, profile or
instance role), so what the caller may do is checked here, by `Permissions`, before each call.
botocore blocks, so calls run in a few threads of their own, never on the event loop. Whatever says
nothing about the key or the caller is `ProviderUnavailable`: data keys at hand go on working.
Called by `data_keys.py`, on one event loop.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from stanchion.keys.providers import (
    Context,
    NewDataKey,
    ProviderThrottled,
    ProviderUnavailable,
    kms_unwrapped,
    kms_wrapped,
)
from stanchion.keys.sealing import Unsealable
from stanchion.model import kms as model
from stanchion.model.errors import AccessDenied, ServiceError

THREADS = 16
WAITING_MAX = 1000
"""Calls under way or waiting for a thread."""
ARNS_MAX = 1000
"""Remembered, of keys that go by an id or alias."""
OUTAGE_MAX_S = 24 * 60 * 60
"""As long as the longest reuse period that a queue may ask for."""

Answer = TypeVar("Answer")


class Permissions(Protocol):
    """What the caller's own policies say."""

    def check(self, on_behalf: Any, permission: str, key_arn: str, context: Context) -> None:
        """Raises `AccessDenied`. `permission` is such as `kms:Decrypt`."""
        ...


class Patience(Struct, frozen=True):
    """How long a call may take."""

    connect_timeout_s: float = 2
    read_timeout_s: float = 5
    attempts_max: int = 3
    total_s: float = 30
    """With all attempts, and the time it waits for a thread."""


class ExternalKms:
    """A `KeyProvider` over a KMS endpoint. `on_behalf` is what `Permissions` know."""

    outage_max_s = OUTAGE_MAX_S
    waits = True

    def __init__(
        self,
        endpoint_url: str,
        region: str,
        permissions: Permissions,
        epoch: Callable[[], int],
        patience: Patience | None = None,
    ) -> None:
        """An empty `endpoint_url` is AWS's own of the region. `epoch` is that of `permissions`."""
        self._permissions = permissions
        self._epoch = epoch
        self._patience = patience or Patience()
        self._connection = _Connection(endpoint_url, region, self._patience)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kms")
        self._waiting = 0
        self._arns: OrderedDict[str, str] = OrderedDict()

    @property
    def epoch(self) -> int:
        """Changes with what is decided here. What changes there is not known before a reuse period
        ends.
        """
        return self._epoch()

    async def generate(self, key_id: str, context: Context, on_behalf: Any) -> NewDataKey:
        """Needs `kms:GenerateDataKey` and `kms:Decrypt`."""
        arn = await self._arn_of(key_id)
        self._check_generate(on_behalf, arn, context)
        with _allowed():
            answer = await self._call(
                "generate_data_key",
                ("KeyId", "Plaintext", "CiphertextBlob"),
                KeyId=key_id,
                NumberOfBytes=32,
                EncryptionContext=dict(context),
            )
        if answer["KeyId"] != arn:
            # The alias has moved on to another key meanwhile.
            arn = self._remember(key_id, answer["KeyId"])
            self._check_generate(on_behalf, arn, context)
        return NewDataKey(answer["Plaintext"], kms_wrapped(arn, answer["CiphertextBlob"]))

    def _check_generate(self, on_behalf: Any, arn: str, context: Context) -> None:
        for permission in ("kms:GenerateDataKey", "kms:Decrypt"):
            self._permissions.check(on_behalf, permission, arn, context)

    async def _arn_of(self, key_id: str) -> str:
        """The ARN of the key itself, as permissions name it."""
        if key_id.startswith("arn:") and ":key/" in key_id:
            return key_id
        if key_id in self._arns:
            self._arns.move_to_end(key_id)
            return self._arns[key_id]
        answer = await self._call("describe_key", ("KeyMetadata",), KeyId=key_id)
        return self._remember(key_id, answer["KeyMetadata"]["Arn"])

    def _remember(self, key_id: str, arn: str) -> str:
        self._arns[key_id] = arn
        if len(self._arns) > ARNS_MAX:
            self._arns.popitem(last=False)
        return arn

    async def unwrap(self, wrapped: bytes, context: Context, on_behalf: Any) -> bytes:
        """Needs `kms:Decrypt`."""
        arn, blob = kms_unwrapped(wrapped)
        self._permissions.check(on_behalf, "kms:Decrypt", arn, context)
        with _allowed():
            answer = await self._call(
                "decrypt",
                ("Plaintext",),
                KeyId=arn,
                CiphertextBlob=blob,
                EncryptionContext=dict(context),
            )
        plaintext: bytes = answer["Plaintext"]
        return plaintext

    async def _call(
        self, operation: str, members: tuple[str, ...], **parameters: Any
    ) -> dict[str, Any]:
        """What the endpoint answers, which has these members.

        Raises what `_Connection.call` raises.
        """
        if self._waiting >= WAITING_MAX:
            raise ProviderUnavailable("too many calls wait for the KMS")
        self._waiting += 1
        try:
            answer = await self._in_thread(lambda: self._connection.call(operation, parameters))
        finally:
            self._waiting -= 1
        if not all(member in answer for member in members):
            raise ProviderUnavailable("what answers is not a KMS")
        return answer

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience.total_s):
                return await loop.run_in_executor(self._threads, work)
        except TimeoutError:
            raise ProviderUnavailable("the KMS takes too long") from None

    async def close(self) -> None:
        """End the threads, when the calls under way have ended; no more calls after that."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: self._threads.shutdown(cancel_futures=True))
        self._connection.close()


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    """What is asked of the endpoint in here, the caller may."""
    try:
        yield
    except ProviderUnavailable as error:
        error.is_allowed = True
        raise


# --- The client -----------------------------------------------------------------------------------


class _Connection:
    """The client of boto3, made when it is first needed. For any thread."""

    def __init__(self, endpoint_url: str, region: str, patience: Patience) -> None:
        self._endpoint_url = endpoint_url
        self._region = region
        self._patience = patience
        self._lock = Lock()
        self._client: Any = None

    def call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Raises errors of KMS, `Unsealable`, and `ProviderUnavailable`."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            answer: dict[str, Any] = getattr(self._connected(), operation)(**parameters)
            return answer
        except ClientError as error:
            raise _refusal(error.response) from error
        except (BotoCoreError, ResponseParserError, OSError, ValueError) as error:
            # Nobody there, no credentials, an address that is none: nothing about the key.
            raise ProviderUnavailable(f"the KMS cannot be reached: {error}") from error

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._made()
            return self._client

    def _made(self) -> Any:
        # Slow to import, and of no use to a server without such a KMS.
        import boto3
        from botocore.config import Config

        patience = self._patience
        return boto3.Session().client(
            "kms",
            region_name=self._region,
            endpoint_url=self._endpoint_url or None,
            config=Config(
                connect_timeout=patience.connect_timeout_s,
                read_timeout=patience.read_timeout_s,
                retries={"mode": "standard", "total_max_attempts": patience.attempts_max},
                max_pool_connections=THREADS,
            ),
        )

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


_REFUSALS: dict[str, type[ServiceError]] = {
    "AccessDeniedException": AccessDenied,
    "DisabledException": model.DisabledException,
    "InvalidArnException": model.InvalidArnException,
    "InvalidKeyUsageException": model.InvalidKeyUsageException,
    "KMSInvalidStateException": model.KMSInvalidStateException,
    "NotFoundException": model.NotFoundException,
}
"""What is about the key, by error code."""
_DAMAGED = ("IncorrectKeyException", "InvalidCiphertextException")
_THROTTLED = ("LimitExceededException", "ThrottlingException", "TooManyRequestsException")


def _refusal(response: dict[str, Any]) -> Exception:
    """What an error reply means. A fault of the endpoint, or of our credentials, is an outage."""
    code = response["Error"].get("Code", "")
    message = response["Error"].get("Message", "")
    if code in _REFUSALS:
        return _REFUSALS[code](message)
    if code in _DAMAGED:
        return Unsealable(f"the KMS does not open a data key: {code}")
    if code in _THROTTLED:
        return ProviderThrottled(message)
    return ProviderUnavailable(f"the KMS answers {code}: {message}")
