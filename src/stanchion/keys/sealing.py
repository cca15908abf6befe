"""Sealing: what the rest of Stanchion needs of the key ring, and nothing more."""

from typing import Protocol


class Unsealable(Exception):
    """Something sealed does not open: it was altered, belongs elsewhere, or the key is another."""


class Sealer(Protocol):
    """Encrypts and authenticates small secrets under the root of trust. Never blocks."""

    def seal(self, purpose: str, plaintext: bytes) -> bytes:
        """Sealed for one purpose, such as `access-key:AKIA...`, which is authenticated with it."""
        ...

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed for this very purpose. Raises `Unsealable`."""
        ...
