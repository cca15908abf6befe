"""What every action of STS is given beside the call and its parameters; and their registry."""

from msgspec import Struct

from stanchion.access.authoriser import Authoriser
from stanchion.access.directory import Directory
from stanchion.access.sessions import Sessions
from stanchion.clock import Clock
from stanchion.model.sts import SERVICE
from stanchion.service import Registry
from stanchion.store.documents import Documents
from stanchion.sts.issuers import Issuers


class Sts(Struct, frozen=True):
    """The service. One per process."""

    documents: Documents
    directory: Directory
    sessions: Sessions
    authoriser: Authoriser
    issuers: Issuers
    """Where the keys of OIDC issuers come from."""
    clock: Clock


REGISTRY: Registry[Sts] = Registry(SERVICE)
action = REGISTRY.action
