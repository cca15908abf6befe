"""What every action of IAM is given beside the call and its parameters; and their registry."""

import os
from collections.abc import Callable

from msgspec import Struct

from stanchion.access.authoriser import Authoriser
from stanchion.access.directory import Directory
from stanchion.access.key_use import KeyUses
from stanchion.clock import Clock
from stanchion.keys.sealing import Sealer
from stanchion.model.iam import SERVICE
from stanchion.service import Registry
from stanchion.store.documents import Documents


class Iam(Struct, frozen=True):
    """The service. One per process."""

    documents: Documents
    directory: Directory
    sealer: Sealer
    authoriser: Authoriser
    uses: KeyUses
    clock: Clock
    entropy: Callable[[int], bytes] = os.urandom


REGISTRY: Registry[Iam] = Registry(SERVICE)
action = REGISTRY.action
