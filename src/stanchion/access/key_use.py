"""When access keys were last used: noted in memory with each call, written down now and then.

A note costs a call next to nothing; what a crash loses is a minute of notes. Called by the
authenticator for every call with a long-lived key, and by the server's upkeep.
"""

from stanchion.access.entities import AccessKeyUse
from stanchion.store.documents import Documents, Draft

WRITTEN_EVERY_S = 60.0
NOTED_MAX = 10_000


class KeyUses:
    """The notes of one process."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._noted: dict[str, AccessKeyUse] = {}
        self._noted_at_s: dict[str, float] = {}
        self._written_at_s = 0.0

    def note(self, access_key_id: str, service: str, region: str, now_s: float) -> None:
        """A key was used. Calls of the same second are one."""
        last_s = self._noted_at_s.get(access_key_id)
        if last_s is not None and 0 <= now_s - last_s < 1:
            return
        if len(self._noted_at_s) >= NOTED_MAX:
            self._noted_at_s.clear()
        self._noted_at_s[access_key_id] = now_s
        self._noted[access_key_id] = AccessKeyUse(
            used_at_ms=int(now_s * 1000), service=service, region=region
        )

    async def write(self, now_s: float, *, at_once: bool = False) -> None:
        """Write the notes down, if it is time to."""
        is_due = not 0 <= now_s - self._written_at_s < WRITTEN_EVERY_S
        if not self._noted or not (is_due or at_once):
            return
        self._written_at_s = now_s
        noted, self._noted = self._noted, {}

        async def put(draft: Draft) -> None:
            for access_key_id, use in noted.items():
                draft.put(use, "", access_key_id)

        await self._documents.change(put, is_quiet=True)

    async def last(self, access_key_id: str) -> AccessKeyUse | None:
        """The last use that anybody noted."""
        if access_key_id in self._noted:
            return self._noted[access_key_id]
        use, _ = await self._documents.read(AccessKeyUse, "", access_key_id)
        return use
