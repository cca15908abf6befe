"""A PKCS#11 token as the root of trust: an AES key that never leaves it.

The ring's keys are encrypted and decrypted by the token, with AES-GCM. Its vendor's module is
loaded into this process, and the `pkcs11` extra has to be installed. A session is opened for each
operation: there are a few at a start and at a rotation, and none in between. Called when the ring
is opened or rotated.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stanchion.keys.root import NONCE_BYTES, TAG_BYTES, Entropy, Root, RootUnusable, WrongRoot

if TYPE_CHECKING:
    import pkcs11

_KEY_BITS = 256
_LABEL_SUFFIX_BYTES = 4


class Token:
    """A token of some module, and the PIN of its user."""

    def __init__(self, module: str, label: str, pin: str) -> None:
        self.label = label
        self._module = module
        self._pin = pin

    @contextmanager
    def session(self, *, writes: bool = False) -> "Iterator[pkcs11.Session]":
        """An open session. Whatever goes wrong in it is a `RootUnusable`."""
        try:
            import pkcs11
        except ImportError:
            raise RootUnusable(
                "a PKCS#11 root needs the python-pkcs11 package: install stanchion[pkcs11]"
            ) from None
        try:
            token = pkcs11.lib(self._module).get_token(token_label=self.label)
            with token.open(rw=writes, user_pin=self._pin) as session:
                yield session
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
            # The exceptions of the package have names and mostly no text.
            reason = f"{type(error).__name__} {error}".strip()
            raise RootUnusable(
                f"cannot use the PKCS#11 token {self.label!r} of {self._module}: {reason}"
            ) from error


class Pkcs11Source:
    """A key of a token, made when there is none of its label at the first start."""

    kind = "pkcs11"

    def __init__(self, token: Token, key_label: str, entropy: Entropy) -> None:
        self._token = token
        self._key_label = key_label
        self._entropy = entropy

    def first(self) -> Root:
        root = self._root(self._key_label)
        if not root.exists():
            root.make()
        return root

    def next(self) -> Root:
        root = self._root(f"{self._key_label}-{self._entropy(_LABEL_SUFFIX_BYTES).hex()}")
        root.make()
        return root

    def found(self, parameters: Mapping[str, str]) -> Root:
        root = self._root(parameters["key"])
        if not root.exists():
            raise RootUnusable(
                f"the PKCS#11 token {self._token.label!r} has no AES key {parameters['key']!r}: "
                "the data was sealed under it, and nothing else opens it"
            )
        return root

    def settle(self, root: Root) -> None:
        """There is nothing to move: the ring says which key of the token it is."""

    def _root(self, key_label: str) -> "Pkcs11Root":
        return Pkcs11Root(self._token, key_label, self._entropy)


class Pkcs11Root:
    """One key of a token."""

    kind = "pkcs11"
    loss = (
        "Without this key the messages cannot be read by anybody: it is only in the token, so back "
        "the token up by its vendor's means."
    )

    def __init__(self, token: Token, key_label: str, entropy: Entropy) -> None:
        self._token = token
        self._key_label = key_label
        self._entropy = entropy
        self.description = f"PKCS#11 key {key_label!r} of token {token.label!r}"
        self.parameters = {"token": token.label, "key": key_label}

    def exists(self) -> bool:
        with self._token.session() as session:
            from pkcs11 import NoSuchKey

            try:
                self._key(session)
            except NoSuchKey:
                return False
            return True

    def make(self) -> None:
        """A key that can be used in the token and never be read from it."""
        with self._token.session(writes=True) as session:
            from pkcs11 import Attribute, KeyType, MechanismFlag

            session.generate_key(
                KeyType.AES,
                _KEY_BITS,
                label=self._key_label,
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )

    def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        nonce = self._entropy(NONCE_BYTES)
        with self._token.session() as session:
            from pkcs11 import GCMParams, Mechanism

            sealed: bytes = self._key(session).encrypt(
                plaintext,
                mechanism=Mechanism.AES_GCM,
                mechanism_param=GCMParams(nonce, aad, TAG_BYTES * 8),
            )
        return nonce + sealed

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        if len(wrapped) < NONCE_BYTES + TAG_BYTES:
            raise WrongRoot
        with self._token.session() as session:
            from pkcs11 import GCMParams, Mechanism, PKCS11Error

            key = self._key(session)
            try:
                plaintext: bytes = key.decrypt(
                    wrapped[NONCE_BYTES:],
                    mechanism=Mechanism.AES_GCM,
                    mechanism_param=GCMParams(wrapped[:NONCE_BYTES], aad, TAG_BYTES * 8),
                )
            except PKCS11Error as error:
                # Tokens disagree about what a tag that does not fit is called.
                raise WrongRoot from error
        return plaintext

    def _key(self, session: "pkcs11.Session") -> Any:
        """The package puts together what a key can do when it is read, so it has no type."""
        from pkcs11 import KeyType, ObjectClass

        return session.get_key(
            object_class=ObjectClass.SECRET_KEY, key_type=KeyType.AES, label=self._key_label
        )
