"""What every use of a key is checked for, once it is known that the caller may: state, usage,
algorithm, and the options that stop it.

The errors and their order are AWS's. Called by the actions that do cryptography, and by grants.
"""

from stanchion.kms.entities import Key
from stanchion.kms.finding import arn_of, usable
from stanchion.model.kms import (
    DryRunOperationException,
    InvalidKeyUsageException,
    UnsupportedOperationException,
)

ALGORITHM = "SYMMETRIC_DEFAULT"


def for_encryption(key: Key, operation: str) -> Key:
    """The key, if it can be used for an operation that encrypts.

    Raises `DisabledException`, `KMSInvalidStateException` and `InvalidKeyUsageException`.
    """
    return for_usage(key, "ENCRYPT_DECRYPT", operation)


def for_usage(key: Key, usage: str, operation: str) -> Key:
    """The key, if it is usable and for that. Raises as `for_encryption` does."""
    if usable(key).usage != usage:
        raise InvalidKeyUsageException(
            f"{arn_of(key)} key usage is {key.usage} which is not valid for {operation}."
        )
    return key


def check_algorithm(key: Key, algorithm: str | None) -> None:
    """Raises `InvalidKeyUsageException` unless the key encrypts with that."""
    if algorithm not in (None, ALGORITHM):
        raise incompatible(key, algorithm)


def incompatible(key: Key, algorithm: str | None) -> InvalidKeyUsageException:
    return InvalidKeyUsageException(
        f"Algorithm {algorithm} is incompatible with key spec {key.spec}."
    )


def end_dry_run(is_dry_run: bool | None) -> None:
    """To be called when nothing more could go wrong. Raises `DryRunOperationException`."""
    if is_dry_run:
        raise DryRunOperationException(
            "The request would have succeeded, but the DryRun option is set."
        )


def without_recipient(recipient: object) -> None:
    """Raises `UnsupportedOperationException`: there are no enclaves to encrypt for."""
    if recipient is not None:
        raise UnsupportedOperationException("Recipient is not supported.")
