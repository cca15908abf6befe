"""Grant tokens: AWS hands them out so that a grant can be used before it is known everywhere.

Here a grant is known at once, so a token allows nothing. It says which grant it was made for, and
is sealed, so that one that somebody made up is refused. Called by every action that takes tokens.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable

from stanchion.keys.sealing import Unsealable
from stanchion.kms.entities import Grant, Key
from stanchion.kms.finding import Name
from stanchion.kms.service import Kms
from stanchion.model.kms import InvalidGrantTokenException

_PURPOSE = "kms-grant-token"


def token_of(kms: Kms, key: Key, grant: Grant) -> str:
    text = "/".join((key.region, key.account_id, key.id, grant.id))
    return urlsafe_b64encode(kms.sealer.seal(_PURPOSE, text.encode())).decode()


def check_tokens(kms: Kms, tokens: Iterable[str] | None) -> None:
    """Raises `InvalidGrantTokenException` if one of them was never handed out."""
    for token in tokens or ():
        _opened(kms, token)


def read_token(kms: Kms, region: str, token: str) -> tuple[Name, str]:
    """The key of the grant, and the grant's id. Raises `InvalidGrantTokenException`."""
    its_region, account_id, key_id, grant_id = _opened(kms, token).split("/")
    if its_region != region:
        raise InvalidGrantTokenException("The grant token is not valid in this region.")
    return Name(region, account_id, key_id=key_id), grant_id


def _opened(kms: Kms, token: str) -> str:
    try:
        return kms.sealer.open(_PURPOSE, urlsafe_b64decode(token.encode())).decode()
    except (ValueError, Unsealable):
        raise InvalidGrantTokenException("The grant token is not valid.") from None
