"""The ids that clients choose: group, deduplication and receive attempt ids share one format."""

import string

from stanchion.model.errors import InvalidParameterValue
from stanchion.sqs.limits import GROUP_ID_CHARS_MAX

_CHARS = frozenset(string.ascii_letters + string.digits + string.punctuation)


def validate(parameter: str, token: str) -> None:
    """1 to 128 alphanumeric and punctuation characters. Raises `InvalidParameterValue`."""
    if not 1 <= len(token) <= GROUP_ID_CHARS_MAX or not _CHARS.issuperset(token):
        raise InvalidParameterValue(
            f"Value {echo(token)} for parameter {parameter} is invalid. Reason: {parameter} can "
            "only include alphanumeric and punctuation characters. 1 to 128 in length."
        )


def echo(value: str) -> str:
    """A client's value as an error text repeats it: never at any length."""
    return value if len(value) <= 256 else value[:256] + "…"
