"""What of a request and of its key the conditions of policies can ask about.

Names of condition keys are in lower case here. What belongs to the caller and the call itself is
known to `access/authoriser.py`. Called by `authorisation`, and by actions that look for their key
themselves.
"""

from collections.abc import Mapping
from typing import Any

from stanchion.access.policy.context import Values
from stanchion.kms.entities import Key
from stanchion.model.errors import ValidationError


def of_key(key: Key) -> dict[str, Values]:
    return {
        "kms:keyspec": (key.spec,),
        "kms:keyusage": (key.usage,),
        "kms:keyorigin": ("AWS_KMS",),
        "kms:multiregion": ("false",),
        "kms:resourcealiases": key.aliases,
    }


def of_encryption_context(context: Mapping[str, str]) -> dict[str, Values]:
    """The encryption context. Condition keys have no case, so two of its names may not be one."""
    if not context:
        return {}
    keys: dict[str, Values] = {
        f"kms:encryptioncontext:{name.lower()}": (value,) for name, value in context.items()
    }
    if len(keys) != len(context):
        raise ValidationError("Keys of an encryption context must differ in more than their case")
    keys["kms:encryptioncontextkeys"] = tuple(context)
    return keys


_ASKED = (
    ("encryption_algorithm", "kms:encryptionalgorithm"),
    ("mac_algorithm", "kms:macalgorithm"),
    ("pending_window_in_days", "kms:schedulekeydeletionpendingwindowindays"),
    ("rotation_period_in_days", "kms:rotationperiodindays"),
    ("bypass_policy_lockout_safety_check", "kms:bypasspolicylockoutsafetycheck"),
    ("operations", "kms:grantoperations"),
    ("grantee_principal", "kms:granteeprincipal"),
    ("retiring_principal", "kms:retiringprincipal"),
    ("tag_keys", "aws:tagkeys"),
)
"""Parameters and the condition keys that they are."""

_DEFAULTS: dict[str, Values] = {
    "encryption_algorithm": ("SYMMETRIC_DEFAULT",),
    "pending_window_in_days": ("30",),
    "bypass_policy_lockout_safety_check": ("false",),
}


def of_parameters(parameters: Any) -> dict[str, Values]:
    """The condition keys of a request, without its encryption context and what its key is."""
    asked = _asked_tags(parameters) | of_key_id(getattr(parameters, "key_id", None))
    for member, condition_key in _ASKED:
        if not hasattr(parameters, member):
            continue
        value = getattr(parameters, member)
        values = _DEFAULTS.get(member) if value is None else values_of(value)
        if values is not None:
            asked[condition_key] = values
    return asked


def values_of(value: Any) -> Values:
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return tuple(value) if isinstance(value, list) else (str(value),)


def _asked_tags(parameters: Any) -> dict[str, Values]:
    tags = getattr(parameters, "tags", None)
    if not tags:
        return {}
    asked: dict[str, Values] = {
        f"aws:requesttag/{(tag.tag_key or '').lower()}": (tag.tag_value or "",) for tag in tags
    }
    asked["aws:tagkeys"] = tuple(tag.tag_key or "" for tag in tags)
    return asked


def of_key_id(key_id: str | None) -> dict[str, Values]:
    """`kms:RequestAlias`, when a KeyId parameter is an alias."""
    name = key_id or ""
    if name.startswith("arn:"):
        name = name.split(":", 5)[-1]
    return {"kms:requestalias": (name,)} if name.startswith("alias/") else {}


def spec_of(parameters: Any) -> str:
    """What CreateKey is asked to make. The model has an old name for it, too."""
    spec: str = parameters.key_spec or parameters.customer_master_key_spec or "SYMMETRIC_DEFAULT"
    return spec
