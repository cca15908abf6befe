"""The tour in docs/ARCHITECTURE.md is the truth: a real SendMessage visits those files, so ordered.

The request is signed by botocore and comes through a real socket; a profiler notes which file is
entered first, second, and so on.
"""

import asyncio
import re
import sys
import threading
from pathlib import Path
from types import FrameType

from stanchion.access.root import RootKey, set_root_key
from stanchion.assembly import Foundation, assemble, by_signature
from stanchion.clock import RandomIds, SystemClock
from stanchion.config import Settings
from stanchion.gateway import Gateway
from stanchion.http.listener import Listener
from stanchion.keys.ring import KeyRing
from stanchion.observe.metrics import Metrics
from stanchion.store.batcher import Batcher, WriterThread
from stanchion.store.documents import Documents
from stanchion.store.signals import QueueSignals
from stanchion.store.sqlite import SqliteStore
from tests import server
from tests.raw import signed
from tests.structure import tree

PACKAGE = str(tree.SOURCE) + "/"


def test_a_send_message_takes_the_tour(tmp_path: Path) -> None:
    visited = asyncio.run(_visits_of_a_send(tmp_path / "data"))
    tour = _tour()
    assert len(tour) >= 8
    assert [name for name in visited if name in tour] == tour


def _tour() -> list[str]:
    """The files that the list in ARCHITECTURE.md names, in its order, for a JSON request."""
    text = (tree.CHECKOUT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## The life of a SendMessage")[2].partition("\n## ")[0]
    files = re.findall(r"\*\*`([a-z0-9_/]+\.py)`\*\*", section)
    return [name for name in files if name != "wire/query.py"]


class Visits:
    """Files of the package in the order in which a call first entered them."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self.recording = False

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        filename = frame.f_code.co_filename
        if self.recording and event == "call" and filename.startswith(PACKAGE):
            self.files.setdefault(filename.removeprefix(PACKAGE))


async def _visits_of_a_send(data_dir: Path) -> list[str]:
    visits = Visits()
    threading.setprofile(visits.note)
    sys.setprofile(visits.note)
    try:
        await _send(data_dir, visits)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return list(visits.files)


async def _send(data_dir: Path, visits: Visits) -> None:
    clock = SystemClock()
    store = SqliteStore.open(data_dir)
    signals = QueueSignals(clock)
    batcher = Batcher(store, clock, signals, writer=WriterThread(), on_broken=print)
    documents, ring, settings = Documents(batcher), KeyRing.ephemeral(), Settings()
    store.set_move_key(await ring.secret(documents, "moves"))
    base = Foundation(batcher, signals, documents, ring, clock, RandomIds())
    await set_root_key(documents, ring, "000000000000", RootKey(*server.KEY), clock.now_ms())
    assembly = await assemble(settings, base)
    authenticator = by_signature(settings, base, assembly)
    gateway = Gateway(authenticator, assembly.services, base.ids, Metrics())
    listener = Listener(gateway.handle, clock)
    url = f"http://127.0.0.1:{await listener.open('127.0.0.1', 0)}"
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    for target, body in (
        ("CreateQueue", b'{"QueueName":"q"}'),
        ("SendMessage", b'{"QueueUrl":"q","MessageBody":"hello"}'),
    ):
        visits.recording = target == "SendMessage"
        writer.write(signed(url, target, body))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(b"}")
    writer.close()
    await listener.drain(1)
    await batcher.close()
    store.close()
