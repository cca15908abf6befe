"""Rotation: another root and a new ring key, in one edit of one document.

No message and no secret is touched: they stay under the ring keys they were sealed under, and those
are wrapped anew. The new root is safe before the edit and takes its place after it, so whichever
side of the edit a crash falls on, the root that opens the ring can be found. Called by
`stanchion keys rotate`, beside a server or without one.
"""

from stanchion.clock import Clock
from stanchion.keys.ring import NAME, RingRecord, keys_of, record_of, ring_record
from stanchion.keys.root import KEY_BYTES, Entropy, Root, RootSource, RootUnusable
from stanchion.store.documents import Documents, Draft

SEAL_AFTER_S = 5
"""When all servers that have the new root have the new key: they look twice a second."""


async def rotate(
    documents: Documents,
    old: RootSource,
    new: RootSource,
    clock: Clock,
    entropy: Entropy,
    seal_after_s: int = SEAL_AFTER_S,
) -> Root:
    """Wrap the ring under another root, with a new active key. Answer: the new root.

    The new key seals after so many seconds, and the one before it until then: who does not have the
    new root by then cannot open what others seal.
    Raises `RootUnusable` with everything as it was, and `StoreError`, after which either root may
    be the one: both can still be found.
    """
    record = await ring_record(documents)
    keys = keys_of(record, old)
    created_at_ms = {key.number: key.created_at_ms for key in record.keys}
    seals_from_ms = {key.number: key.seals_from_ms for key in record.keys}
    number = max(keys) + 1
    root = new.next()
    rotated = record_of(
        root,
        {**keys, number: entropy(KEY_BYTES)},
        {**created_at_ms, number: clock.now_ms()},
        {**seals_from_ms, number: clock.now_ms() + seal_after_s * 1000},
    )

    async def work(draft: Draft) -> None:
        if await draft.get(RingRecord, "", NAME) != record:
            raise RootUnusable("somebody else has rotated the keys meanwhile: look, and try again")
        draft.put(rotated, "", NAME)

    await documents.change(work)
    new.settle(root)
    return root
