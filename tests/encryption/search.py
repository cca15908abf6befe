"""Looking for a text in files in every form in which it might have been written down."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import md5, sha1, sha256


def found(secrets: Iterable[str | bytes], files: Mapping[str, bytes]) -> set[str]:
    """The files that have one of the secrets in them, with the form: `stanchion.db: hex`."""
    contents = {name: data for name, data in files.items() if data.count(0) < len(data)}
    return {
        f"{name}: {form}"
        for secret in secrets
        for form, needle in forms(secret)
        for name, data in contents.items()
        if needle in data
    }


def forms(secret: str | bytes) -> Iterable[tuple[str, bytes]]:
    """The forms of a secret that tell what it is, wherever it begins in what was encoded."""
    raw = secret.encode() if isinstance(secret, str) else secret
    yield "plain", raw
    yield "backwards", raw[::-1]
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    if isinstance(secret, str):
        yield "UTF-16 LE", secret.encode("utf-16-le")
        yield "UTF-16 BE", secret.encode("utf-16-be")
    for shift in range(3):
        # What depends on the neighbours is left out at both ends.
        start, end = (0, 2, 3)[shift], 4 * (len(raw) // 3) - 4
        for form, encode in (("base64", b64encode), ("base64url", urlsafe_b64encode)):
            yield form, encode(bytes(shift) + raw)[start:end]


def digests(text: str) -> list[bytes]:
    """Digests of a text, as bytes. They tell whoever guesses it that the guess is right."""
    return [algorithm(text.encode()).digest() for algorithm in (md5, sha1, sha256)]
