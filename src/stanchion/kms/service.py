"""What every action of KMS is given beside the call and its parameters; and their registry."""

import os
from collections.abc import Callable

from msgspec import Struct

from stanchion.access.authoriser import Authoriser
from stanchion.clock import Clock, Ids
from stanchion.keys.sealing import Sealer
from stanchion.model.kms import SERVICE
from stanchion.service import Registry
from stanchion.store.documents import Documents


class Kms(Struct, frozen=True):
    """The service. One per process."""

    documents: Documents
    sealer: Sealer
    authoriser: Authoriser
    clock: Clock
    ids: Ids
    entropy: Callable[[int], bytes] = os.urandom


REGISTRY: Registry[Kms] = Registry(SERVICE)
action = REGISTRY.action
