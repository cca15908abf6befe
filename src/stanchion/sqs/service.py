"""What every action is given beside the call and its parameters: the service's collaborators."""

from msgspec import Struct

from stanchion.clock import Clock, Ids
from stanchion.sqs.catalogue import Catalogue
from stanchion.sqs.quotas import UNLIMITED, Quotas
from stanchion.sqs.receipts import Receipts
from stanchion.store.contract import StoreClient
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
    quotas: Quotas = UNLIMITED
