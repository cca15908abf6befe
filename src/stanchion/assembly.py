"""Puts the services together: every collaborator is made here, once, and handed on.

Read it to see what depends on what. The server gives the store, the clock and the key ring; it gets
services for the gateway and the little work that they want done all the time. Nothing here listens,
and nothing decides.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from stanchion.access.authenticator import (
    Authenticator,
    DevAuthenticator,
    SignatureAuthenticator,
)
from stanchion.access.authoriser import Authoriser
from stanchion.access.directory import Directory
from stanchion.access.key_use import KeyUses
from stanchion.access.sessions import Sessions
from stanchion.access.sigv4 import Expectations
from stanchion.clock import Clock, Ids
from stanchion.config import Settings
from stanchion.iam import actions as iam_actions
from stanchion.iam.service import Iam
from stanchion.keys.data_keys import DataKeys
from stanchion.keys.external import ExternalKms
from stanchion.keys.providers import KMS, RING, KeyProvider, RingProvider
from stanchion.keys.ring import KeyRing
from stanchion.kms import actions as kms_actions
from stanchion.kms.keys import destroy_due
from stanchion.kms.provider import BuiltInKms, ByIdentity
from stanchion.kms.service import Kms
from stanchion.service import Service
from stanchion.sqs import actions as sqs_actions
from stanchion.sqs.catalogue import Catalogue
from stanchion.sqs.encryption import Bodies
from stanchion.sqs.quotas import UNLIMITED, FifoQuotas
from stanchion.sqs.receipts import Receipts
from stanchion.sqs.service import Limits, Sqs
from stanchion.store.contract import StoreClient
from stanchion.store.documents import Documents
from stanchion.store.signals import QueueSignals
from stanchion.sts import actions as sts_actions
from stanchion.sts.issuers import Issuers
from stanchion.sts.service import Sts


class Foundation(Struct, frozen=True):
    """What everything stands on."""

    store: StoreClient
    signals: QueueSignals
    documents: Documents
    ring: KeyRing
    clock: Clock
    ids: Ids


class Assembly(Struct, frozen=True):
    """What came of it."""

    services: Sequence[Service]
    directory: Directory
    uses: KeyUses
    bodies: Bodies
    catalogue: Catalogue
    kms: Kms
    external_kms: ExternalKms | None


async def assemble(settings: Settings, base: Foundation, *, kms_needs_tls: bool = True) -> Assembly:
    """The services over a foundation. `kms_needs_tls` is for queues with SSE-KMS."""
    authoriser = Authoriser(base.clock)
    kms = Kms(base.documents, base.ring, authoriser, base.clock, base.ids)
    external_kms = _external_kms(settings, base.documents, authoriser)
    providers: Mapping[int, KeyProvider] = {
        RING: RingProvider(base.ring, os.urandom),
        KMS: external_kms or BuiltInKms(kms),
    }
    bodies = Bodies(DataKeys(providers, base.clock), kms_needs_tls=kms_needs_tls)
    directory = Directory(base.documents)
    uses = KeyUses(base.documents)
    sqs = await _sqs(settings, base, authoriser, bodies)
    services: Sequence[Service] = (
        sqs_actions.service_of(sqs),
        iam_actions.service_of(
            Iam(base.documents, directory, base.ring, authoriser, uses, base.clock)
        ),
        sts_actions.service_of(_sts(settings, base, authoriser, directory)),
        kms_actions.service_of(kms),
    )
    return Assembly(services, directory, uses, bodies, sqs.catalogue, kms, external_kms)


async def _sqs(settings: Settings, base: Foundation, authoriser: Authoriser, bodies: Bodies) -> Sqs:
    return Sqs(
        store=base.store,
        signals=base.signals,
        catalogue=Catalogue(base.store),
        receipts=Receipts(await base.ring.secret(base.documents, "receipts")),
        clock=base.clock,
        ids=base.ids,
        limits=Limits(
            queue_name_quarantine_s=settings.queue_name_quarantine_s,
            purge_interval_s=settings.purge_interval_s,
            in_flight_max=settings.in_flight_max,
        ),
        authoriser=authoriser,
        documents=base.documents,
        bodies=bodies,
        page_secret=await base.ring.secret(base.documents, "pages"),
        quotas=FifoQuotas(base.clock) if settings.fifo_quotas else UNLIMITED,
    )


def _external_kms(
    settings: Settings, documents: Documents, authoriser: Authoriser
) -> ExternalKms | None:
    """Where SSE-KMS gets its data keys from, if not from the KMS of this process."""
    if not settings.kms_endpoint_url:
        return None
    permissions = ByIdentity(authoriser)
    return ExternalKms(
        settings.kms_endpoint_url, settings.kms_region, permissions, lambda: documents.epoch
    )


def _sts(settings: Settings, base: Foundation, authoriser: Authoriser, directory: Directory) -> Sts:
    pairs = (pair.rpartition("=") for pair in settings.oidc_jwks)
    return Sts(
        documents=base.documents,
        directory=directory,
        sessions=Sessions(base.ring),
        authoriser=authoriser,
        issuers=Issuers(
            base.clock,
            jwks_files={issuer: Path(file) for issuer, _, file in pairs},
            ca_file=Path(settings.oidc_ca) if settings.oidc_ca else None,
        ),
        clock=base.clock,
    )


def by_signature(settings: Settings, base: Foundation, assembly: Assembly) -> Authenticator:
    """Believes only signatures."""
    hosts = (settings.external_url.partition("://")[2],) if settings.external_url else ()
    expectations = Expectations(frozenset(settings.regions), hosts)
    return SignatureAuthenticator(
        assembly.directory, base.ring, base.clock, expectations, assembly.uses
    )


def by_name(base: Foundation, assembly: Assembly) -> Authenticator:
    """Believes everybody: for `stanchion dev`."""
    return DevAuthenticator(assembly.directory, base.ring, base.clock)


async def keep(base: Foundation, assembly: Assembly) -> None:
    """What is to be done all the time, apart from the store's own upkeep.

    Takes note of what other processes have changed, so how often it is called says how long that
    may go unnoticed. Raises `StoreError`, and `RootUnusable` when another process has changed the
    root of trust.
    """
    await base.documents.refresh()
    for queue in await assembly.catalogue.follow(base.clock.now_ms()):
        # It may be gone: long polls look again.
        base.signals.close_queue(queue.id)
    await base.ring.refresh(base.documents, base.clock.now_ms())
    await assembly.uses.write(base.clock.wall_s())
    assembly.bodies.forget_expired()
    while await destroy_due(assembly.kms):
        pass


async def close(assembly: Assembly) -> None:
    """When nothing is called any more. Raises `StoreError`."""
    if assembly.external_kms is not None:
        await assembly.external_kms.close()
    await assembly.uses.write(0, at_once=True)
