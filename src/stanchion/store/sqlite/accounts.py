"""Commands about access keys, and the secrets of the store itself."""

from collections.abc import Iterator, Sequence

from stanchion.store.contract import AccessKey, GetAccessKey, GetRootKey, GetSecret, SetRootKey
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Transaction

_ACCESS_KEY = statement("access_key")
_ROOT_KEY = statement("root_key")
_DELETE_ROOT_KEY = statement("delete_root_key")
_INSERT_ROOT_KEY = statement("insert_root_key")
_SECRET = statement("secret")
_INSERT_SECRET = statement("insert_secret")
_SECRET_BYTES = 32


def set_root_keys(tx: Transaction, commands: Sequence[SetRootKey]) -> Iterator[None]:
    for command in commands:
        key = command.key
        tx.execute(_DELETE_ROOT_KEY, (key.account_id,))
        tx.execute(_INSERT_ROOT_KEY, (key.access_key_id, key.secret, key.account_id))
        yield None


def get_access_keys(
    tx: Transaction, commands: Sequence[GetAccessKey]
) -> Iterator[AccessKey | None]:
    for command in commands:
        yield _access_key(tx, _ACCESS_KEY, command.access_key_id)


def get_root_keys(tx: Transaction, commands: Sequence[GetRootKey]) -> Iterator[AccessKey | None]:
    for command in commands:
        yield _access_key(tx, _ROOT_KEY, command.account_id)


def _access_key(tx: Transaction, text: str, parameter: str) -> AccessKey | None:
    row = tx.execute(text, (parameter,)).fetchone()
    return AccessKey(*row) if row else None


def get_secrets(tx: Transaction, commands: Sequence[GetSecret]) -> Iterator[bytes]:
    for command in commands:
        row = tx.execute(_SECRET, (command.name,)).fetchone()
        if row is None:
            row = (tx.resources.entropy(_SECRET_BYTES),)
            tx.execute(_INSERT_SECRET, (command.name, *row))
        yield row[0]
