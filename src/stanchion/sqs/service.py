"""What every action is given beside the call and its parameters; and their registry."""

from msgspec import Struct

from stanchion.access.authoriser import Authoriser
from stanchion.clock import Clock, Ids
from stanchion.model.sqs import SERVICE
from stanchion.service import Registry
from stanchion.sqs.catalogue import Catalogue
from stanchion.sqs.encryption import Bodies
from stanchion.sqs.quotas import UNLIMITED, Quotas
from stanchion.sqs.receipts import Receipts
from stanchion.store.contract import StoreClient
from stanchion.store.documents import Documents
from stanchion.store.signals import QueueSignals


class Limits(Struct, frozen=True):
    """The limits that an operator may change; the fixed ones are in `limits.py`."""

    queue_name_quarantine_s: float = 60
    purge_interval_s: float = 60
    in_flight_max: int = 120_000


class Sqs(Struct, frozen=True):
    """The service. One per process."""

    store: StoreClient
    signals: QueueSignals
    catalogue: Catalogue
    receipts: Receipts
    clock: Clock
    ids: Ids
    limits: Limits
    authoriser: Authoriser
    documents: Documents
    """Where the users and roles are that policies name."""
    bodies: Bodies
    page_secret: bytes
    """What the tokens of lists are authenticated with."""
    quotas: Quotas = UNLIMITED


REGISTRY: Registry[Sqs] = Registry(SERVICE)
action = REGISTRY.action
