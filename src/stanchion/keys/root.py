"""The root of trust: the one secret that is never in the database.

It wraps the keys of the ring, and they seal everything else. Where it comes from is a `RootSource`:
a key file, a passphrase, or a PKCS#11 token. A root is used when the ring is opened or rotated and
at no other time, so it may be slow. Whoever loses it has lost every body, every secret access key
and every KMS key of the installation; nothing here can bring them back.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16

Entropy = Callable[[int], bytes]
"""So many random bytes, as `os.urandom` gives them."""


class WrongRoot(Exception):
    """Something was wrapped under another root, or it has been altered."""


class RootUnusable(Exception):
    """The data cannot be opened with what was given; the message is one line that says why."""


class Root(Protocol):
    """A secret that wraps a few others."""

    @property
    def kind(self) -> str:
        """file, passphrase or pkcs11."""
        ...

    @property
    def description(self) -> str:
        """For the operator, such as `key file /x/root.key (fingerprint 01ab...)`; not secret."""
        ...

    @property
    def loss(self) -> str:
        """A sentence that says what losing it means."""
        ...

    @property
    def parameters(self) -> Mapping[str, str]:
        """What is stored beside the ring to find this root again; not secret."""
        ...

    def wrap(self, plaintext: bytes, aad: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """Raises `WrongRoot`."""
        ...


class RootSource(Protocol):
    """Where the operator says that the root is. Every method raises `RootUnusable`."""

    @property
    def kind(self) -> str: ...

    def first(self) -> Root:
        """The root for a new installation: the one that is there, or a new one."""
        ...

    def next(self) -> Root:
        """Another root, to rotate to. It is as safe from a crash as it will ever be."""
        ...

    def found(self, parameters: Mapping[str, str]) -> Root:
        """The root with these parameters."""
        ...

    def settle(self, root: Root) -> None:
        """The ring is under this root: let it be found first from now on. Never fails."""
        ...


class HeldRoot:
    """A root whose key is in the memory of this process: a key file's or a passphrase's."""

    def __init__(
        self,
        kind: str,
        key: bytes,
        entropy: Entropy,
        *,
        description: str,
        loss: str,
        parameters: Mapping[str, str],
    ) -> None:
        self.kind = kind
        self.description = description
        self.loss = loss
        self.parameters = parameters
        self._cipher = AESGCM(key)
        self._entropy = entropy

    def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        nonce = self._entropy(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plaintext, aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        if len(wrapped) < NONCE_BYTES + TAG_BYTES:
            raise WrongRoot
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], aad)
        except InvalidTag:
            raise WrongRoot from None
