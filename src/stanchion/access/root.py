"""The root key of the account: where it comes from at the first start, and at every later one.

The environment decides when it names a key. Otherwise the store's key stays as it is; and when
there is none yet, one is made and handed over in a file that only the owner may read. The file is
complete and on the disk before the store knows the key, so no crash can leave a key that nobody
has; it is never overwritten. Of several servers that start at the same moment, the key of one is
the root key, and no other is left in a file. Secrets go nowhere else. Called by the server before
it listens.
"""

import os
import re
from base64 import b32encode, b64encode
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct, structs

from stanchion.access.entities import AccessKey, Account
from stanchion.keys.key_file import put_in_place
from stanchion.keys.sealing import Sealer
from stanchion.store.documents import Documents, Draft

ROOT_ACCOUNT_ID = "000000000000"
FILE_NAME = "root-credentials.env"
DEFAULT_REGION = "us-east-1"

_MODE = 0o600


class UnreadableCredentialsError(Exception):
    """The credentials file is there and the key is not in it, or it cannot be read or written."""


class RootKey(Struct, frozen=True):
    """The root user's credentials."""

    access_key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"RootKey({self.access_key_id!r})"


async def ensure_root_key(
    documents: Documents,
    sealer: Sealer,
    given: RootKey | None,
    data_dir: Path | None,
    *,
    endpoint_url: str,
    now_ms: int,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Path | None:
    """Make sure that the account has its root key. Answer: the file written, if one was.

    `given` replaces the key there is. `endpoint_url` goes into the file unless it is empty, for
    the convenience of whoever loads it. Raises `UnreadableCredentialsError`, and `StoreError`.
    """
    account = await documents.get(Account, "", ROOT_ACCOUNT_ID)
    if given is not None:
        if not await _is_set(documents, sealer, given):
            await set_root_key(documents, sealer, ROOT_ACCOUNT_ID, given, now_ms)
        return None
    if account is not None and account.root_access_key_ids:
        return None
    if data_dir is None:
        raise UnreadableCredentialsError(
            "there is no root key yet, and no data directory to write one to: give one with "
            "STANCHION_ROOT_ACCESS_KEY_ID and STANCHION_ROOT_SECRET_ACCESS_KEY"
        )
    path = data_dir / FILE_NAME
    try:
        # One that is there was left by a start that ended before the store knew, or put there by
        # the operator.
        made = None if path.exists() else new_root_key(entropy)
        if made is not None:
            _write(path, _lines(made, endpoint_url))
        key = _read(path)
        await set_root_key(documents, sealer, ROOT_ACCOUNT_ID, key, now_ms, is_first=True)
        # Another server may have been faster.
        documents.forget()
        if key != made:
            return None
        if not await _is_set(documents, sealer, key):
            path.unlink()
            return None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableCredentialsError(f"cannot use {path}: {error}") from error
    return path


async def _is_set(documents: Documents, sealer: Sealer, key: RootKey) -> bool:
    account = await documents.get(Account, "", ROOT_ACCOUNT_ID)
    found = await documents.get(AccessKey, "", key.access_key_id)
    if account is None or found is None:
        return False
    return (
        account.root_access_key_ids == (key.access_key_id,)
        and found.is_active
        and sealer.open(f"access-key:{key.access_key_id}", found.sealed_secret).decode()
        == key.secret
    )


async def set_root_key(
    documents: Documents,
    sealer: Sealer,
    account_id: str,
    key: RootKey,
    now_ms: int,
    *,
    is_first: bool = False,
) -> None:
    """Make this the one root key of an account, creating the account if there is none.

    When it `is_first`, it does not take the place of one that is there by then.
    Raises `UnreadableCredentialsError` when another account or a user has a key of that id.
    """
    document = AccessKey(
        access_key_id=key.access_key_id,
        account_id=account_id,
        sealed_secret=sealer.seal(f"access-key:{key.access_key_id}", key.secret.encode()),
        created_at_ms=now_ms,
    )

    async def change(draft: Draft) -> None:
        account = await draft.get(Account, "", account_id)
        account = account or Account(id=account_id, created_at_ms=now_ms)
        if is_first and account.root_access_key_ids:
            return
        taken = await draft.get(AccessKey, "", key.access_key_id)
        if taken is not None and (taken.account_id, taken.user) != (account_id, ""):
            raise UnreadableCredentialsError(
                f"the access key id {key.access_key_id} belongs to somebody else"
            )
        for old in account.root_access_key_ids:
            draft.delete(AccessKey, "", old)
        ids = (key.access_key_id,)
        draft.put(structs.replace(account, root_access_key_ids=ids), "", account_id)
        draft.put(document, "", key.access_key_id)

    await documents.change(change)


def new_root_key(entropy: Callable[[int], bytes] = os.urandom) -> RootKey:
    access_key_id = f"AKIA{b32encode(entropy(10)).decode()}"
    return RootKey(access_key_id, b64encode(entropy(30)).decode())


def _lines(key: RootKey, endpoint_url: str) -> str:
    lines = [
        f"# The root key of account {ROOT_ACCOUNT_ID}, made at the first start. Keep it secret.",
        f"export AWS_ACCESS_KEY_ID={key.access_key_id}",
        f"export AWS_SECRET_ACCESS_KEY={key.secret}",
        f"export AWS_DEFAULT_REGION={DEFAULT_REGION}",
    ]
    if endpoint_url:
        lines.append(f"export AWS_ENDPOINT_URL={endpoint_url}")
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """All of it or nothing, and durable. A file that is there by then stays as it is."""
    unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
    unfinished.unlink(missing_ok=True)
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with open(file, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    put_in_place(unfinished, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


_LINE = re.compile(
    r"^(?:export\s+)?(AWS_ACCESS_KEY_ID|AWS_SECRET_ACCESS_KEY)=[\"']?([^\s\"']+)", re.MULTILINE
)


def _read(path: Path) -> RootKey:
    values = dict(_LINE.findall(path.read_text(encoding="utf-8")))
    try:
        return RootKey(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"])
    except KeyError as missing:
        raise UnreadableCredentialsError(f"{path} has no line with {missing.args[0]}") from None
