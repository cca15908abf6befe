"""Key material: made once, sealed at once, and known outside by an id that says nothing of it.

Material is never part of a reply or a log. Rotation adds some, and what was encrypted under older
material goes on to be decrypted with it. Called by whatever makes keys, and by cryptography.
"""

from hashlib import sha256

from stanchion.kms.entities import Key, Material, key_arn
from stanchion.kms.service import Kms

SPECS: dict[str, int] = {
    "SYMMETRIC_DEFAULT": 32,
    "HMAC_224": 28,
    "HMAC_256": 32,
    "HMAC_384": 48,
    "HMAC_512": 64,
}
"""Bytes of material of the keys that can be made, by KeySpec."""


def made(kms: Kms, key: Key, *, is_on_demand: bool = False) -> Material:
    """Fresh material to be the key's next, which is not yet in it."""
    number = key.materials[-1].number + 1 if key.materials else 1
    plaintext = kms.entropy(SPECS[key.spec])
    sealed = kms.sealer.seal(_purpose(key, number), plaintext)
    return Material(number, sealed, kms.clock.now_ms(), is_on_demand)


def opened(kms: Kms, key: Key, material: Material) -> bytes:
    """The material itself. Raises `Unsealable`."""
    return kms.sealer.open(_purpose(key, material.number), material.sealed)


def _purpose(key: Key, number: int) -> str:
    return f"kms-key:{key_arn(key.region, key.account_id, key.id)}:{number}"


def material_id(key: Key, material: Material) -> str:
    """What replies call the material: 64 hexadecimal digits."""
    return sha256(_purpose(key, material.number).encode()).hexdigest()
