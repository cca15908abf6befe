"""The root key of the account: where it comes from at the first start, and at every later one.

The environment decides when it names a key. Otherwise the store's key stays as it is; and when
there is none yet, one is made and handed over in a file that only the owner may read. The file is
complete and on the disk before the store knows the key, so no crash can leave a key that nobody
has; it is never overwritten. Secrets go nowhere else. Called by the server before it listens.
"""

import os
import re
from base64 import b32encode, b64encode
from collections.abc import Callable
from pathlib import Path

from stanchion.store.contract import AccessKey, GetRootKey, SetRootKey, StoreClient

ROOT_ACCOUNT_ID = "000000000000"
FILE_NAME = "root-credentials.env"
DEFAULT_REGION = "us-east-1"

_MODE = 0o600


class UnreadableCredentialsError(Exception):
    """The credentials file is there and the key is not in it, or it cannot be read or written."""


async def ensure_root_key(
    keys: StoreClient,
    given: AccessKey | None,
    data_dir: Path,
    *,
    endpoint_url: str,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Path | None:
    """Make sure that the account has its root key. Answer: the file written, if one was.

    `given` replaces the key there is. `endpoint_url` goes into the file unless it is empty, for
    the convenience of whoever loads it. Raises `UnreadableCredentialsError`, and `StoreError`.
    """
    current = await keys.run(GetRootKey(ROOT_ACCOUNT_ID))
    if given is not None:
        if given != current:
            await keys.run(SetRootKey(given))
        return None
    if current is not None:
        return None
    path = data_dir / FILE_NAME
    try:
        if path.exists():
            # Left by a start that ended before the store knew, or put there by the operator.
            await keys.run(SetRootKey(_read(path)))
            return None
        key = _new_key(entropy)
        _write(path, _lines(key, endpoint_url))
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableCredentialsError(f"cannot use {path}: {error}") from error
    await keys.run(SetRootKey(key))
    return path


def root_key(access_key_id: str, secret: str) -> AccessKey:
    return AccessKey(access_key_id, secret, ROOT_ACCOUNT_ID)


def _new_key(entropy: Callable[[int], bytes]) -> AccessKey:
    access_key_id = f"AKIA{b32encode(entropy(10)).decode()}"
    return root_key(access_key_id, b64encode(entropy(30)).decode())


def _lines(key: AccessKey, endpoint_url: str) -> str:
    lines = [
        f"# The root key of account {key.account_id}, made at the first start. Keep it secret.",
        f"export AWS_ACCESS_KEY_ID={key.access_key_id}",
        f"export AWS_SECRET_ACCESS_KEY={key.secret}",
        f"export AWS_DEFAULT_REGION={DEFAULT_REGION}",
    ]
    if endpoint_url:
        lines.append(f"export AWS_ENDPOINT_URL={endpoint_url}")
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """All of it or nothing, and durable."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with open(file, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


_LINE = re.compile(
    r"^(?:export\s+)?(AWS_ACCESS_KEY_ID|AWS_SECRET_ACCESS_KEY)=[\"']?([^\s\"']+)", re.MULTILINE
)


def _read(path: Path) -> AccessKey:
    values = dict(_LINE.findall(path.read_text(encoding="utf-8")))
    try:
        return root_key(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"])
    except KeyError as missing:
        raise UnreadableCredentialsError(f"{path} has no line with {missing.args[0]}") from None
