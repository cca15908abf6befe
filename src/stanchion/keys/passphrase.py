"""A passphrase as the root of trust, stretched by scrypt.

The salt and the cost are stored beside the ring, so that they can be raised by a rotation. The
passphrase itself is taken from the environment or a file descriptor, never from a flag: other users
of a machine can read those. Called when the ring is opened or rotated.
"""

import os
from collections.abc import Mapping

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Struct

from stanchion.keys.root import KEY_BYTES, Entropy, HeldRoot, Root, RootUnusable

CHARACTERS_MIN = 12

_SALT_BYTES = 16
_PASSPHRASE_BYTES_MAX = 4096
_N_MAX = 2**20
_R_MAX = 16
_P_MAX = 4


class Cost(Struct, frozen=True):
    """What one guess takes. 128 * n * r bytes of memory; the default is 64 MiB and 0.12 s."""

    n: int = 2**16
    r: int = 8
    p: int = 1


class PassphraseSource:
    """A passphrase that the operator knows."""

    kind = "passphrase"

    def __init__(self, passphrase: str, entropy: Entropy, cost: Cost | None = None) -> None:
        self._passphrase = passphrase
        self._entropy = entropy
        self._cost = cost or Cost()

    def first(self) -> Root:
        return self.next()

    def next(self) -> Root:
        if len(self._passphrase) < CHARACTERS_MIN:
            raise RootUnusable(f"a root passphrase has at least {CHARACTERS_MIN} characters")
        return self._root(self._entropy(_SALT_BYTES), self._cost)

    def found(self, parameters: Mapping[str, str]) -> Root:
        try:
            salt = bytes.fromhex(parameters["salt"])
            cost = Cost(*(int(parameters[name]) for name in Cost.__struct_fields__))
        except (KeyError, ValueError):
            raise RootUnusable("the parameters of the root passphrase are damaged") from None
        return self._root(salt, cost)

    def settle(self, root: Root) -> None:
        """There is nothing to move: the operator has it."""

    def _root(self, salt: bytes, cost: Cost) -> Root:
        # They come from the database, and a start must not take all memory because of it.
        if not (1 < cost.n <= _N_MAX and 0 < cost.r <= _R_MAX and 0 < cost.p <= _P_MAX):
            raise RootUnusable("the parameters of the root passphrase are out of bounds")
        try:
            kdf = Scrypt(salt=salt, length=KEY_BYTES, n=cost.n, r=cost.r, p=cost.p)
        except ValueError as error:
            raise RootUnusable(f"the parameters of the root passphrase: {error}") from None
        return HeldRoot(
            self.kind,
            # What is not text in the environment's encoding is taken as the bytes that it is.
            kdf.derive(self._passphrase.encode("utf-8", "surrogateescape")),
            self._entropy,
            description=f"passphrase (scrypt n={cost.n} r={cost.r} p={cost.p})",
            loss="Without this passphrase the messages cannot be read by anybody: nobody can reset "
            "it, so keep it in a second place.",
            parameters={"salt": salt.hex(), "n": str(cost.n), "r": str(cost.r), "p": str(cost.p)},
        )


def passphrase_from(file: int) -> str:
    """What a file descriptor holds, without the end of its line. Raises `RootUnusable`."""
    try:
        with open(os.dup(file), "rb") as stream:
            text = stream.read(_PASSPHRASE_BYTES_MAX + 1)
    except OSError as error:
        raise RootUnusable(
            f"cannot read a passphrase from file descriptor {file}: {error.strerror}"
        ) from error
    if len(text) > _PASSPHRASE_BYTES_MAX:
        raise RootUnusable(f"the passphrase is longer than {_PASSPHRASE_BYTES_MAX} bytes")
    passphrase = text.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    if not passphrase:
        raise RootUnusable(f"there is no passphrase on file descriptor {file}")
    return passphrase
