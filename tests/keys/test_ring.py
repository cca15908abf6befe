"""The ring: made once, opened by its root alone, rotated without a moment of danger."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stanchion.keys.key_file import FileSource
from stanchion.keys.passphrase import Cost, PassphraseSource
from stanchion.keys.ring import (
    RETRIED_AFTER_MS,
    KeyRing,
    RingRecord,
    keys_of,
    open_ring,
    ring_record,
)
from stanchion.keys.root import RootSource, RootUnusable
from stanchion.keys.rotation import SEAL_AFTER_S, rotate
from stanchion.keys.sealing import Unsealable
from stanchion.store.documents import Documents
from tests.keys.conftest import START_MS, Crash, Store, TurnedClock, entropy_of


def files(directory: Path, seed: int = 1) -> FileSource:
    return FileSource(directory / "root.key", entropy_of(seed))


def phrase(passphrase: str) -> PassphraseSource:
    return PassphraseSource(passphrase, entropy_of(4), Cost(n=2**4))


ROTATED_AFTER_S = 60
SETTLED_MS = START_MS + (ROTATED_AFTER_S + SEAL_AFTER_S) * 1000


def opened(documents: Documents, source: RootSource, now_ms: int = START_MS) -> KeyRing:
    clock = TurnedClock()
    clock.advance((now_ms - START_MS) / 1000)
    return asyncio.run(open_ring(documents, source, clock, entropy_of(9)))


def rotated(documents: Documents, old: RootSource, new: RootSource) -> None:
    clock = TurnedClock()
    clock.advance(ROTATED_AFTER_S)
    asyncio.run(rotate(documents, old, new, clock, entropy_of(8)))


def record(documents: Documents) -> RingRecord:
    return asyncio.run(ring_record(documents))


def test_the_first_start_makes_it_and_says_so(documents: Documents, tmp_path: Path) -> None:
    ring = opened(documents, files(tmp_path))
    assert str(tmp_path / "root.key") in ring.notice
    assert "Without this file the messages cannot be read by anybody" in ring.notice
    sealed = ring.seal("p", b"text")
    again = opened(documents, files(tmp_path, 2))
    assert again.notice == ""
    assert again.open("p", sealed) == b"text"
    (key,) = record(documents).keys
    assert (key.number, key.created_at_ms) == (1, START_MS)


def test_two_first_starts_agree(store: Store, tmp_path: Path) -> None:
    """Both saw that there is none; the second finds out at its edit."""
    slow, quick = Documents(store), Documents(store)
    real = slow.read

    async def late_read(*arguments: object) -> object:
        found = await real(*arguments)  # type: ignore[arg-type]
        if found[0] is None:
            await open_ring(quick, files(tmp_path), TurnedClock(), entropy_of(1))
        return found

    slow.read = late_read  # type: ignore[assignment, method-assign]
    ring = opened(slow, files(tmp_path, 2))
    assert ring.notice == ""
    assert opened(quick, files(tmp_path)).open("p", ring.seal("p", b"1")) == b"1"


def test_a_crash_before_the_first_ring_is_stored_leaves_a_root_that_is_used(
    store: Store, documents: Documents, tmp_path: Path
) -> None:
    store.crash_before_edit = True
    with pytest.raises(Crash):
        opened(documents, files(tmp_path))
    store.crash_before_edit = False
    before = (tmp_path / "root.key").read_text()
    opened(documents, files(tmp_path, 2))
    assert (tmp_path / "root.key").read_text() == before


# --- Sealing ------------------------------------------------------------------------------------

RING = KeyRing.ephemeral(entropy_of(1))
SEALED = RING.seal("access-key:AKIA1", b"the secret")


@given(position=st.integers(0, len(SEALED) - 1), mask=st.integers(1, 255))
def test_any_altered_byte_is_noticed(position: int, mask: int) -> None:
    altered = bytearray(SEALED)
    altered[position] ^= mask
    with pytest.raises(Unsealable):
        RING.open("access-key:AKIA1", bytes(altered))


@given(st.integers(0, len(SEALED) - 1))
def test_what_is_cut_off_is_noticed(end: int) -> None:
    with pytest.raises(Unsealable):
        RING.open("access-key:AKIA1", SEALED[:end])


def test_a_purpose_is_part_of_it() -> None:
    assert RING.open("access-key:AKIA1", SEALED) == b"the secret"
    with pytest.raises(Unsealable):
        RING.open("access-key:AKIA2", SEALED)
    with pytest.raises(Unsealable):
        KeyRing.ephemeral(entropy_of(2)).open("access-key:AKIA1", SEALED)
    assert RING.seal("access-key:AKIA1", b"the secret") != SEALED
    assert len(SEALED) == len(b"the secret") + 33


def test_secrets_stay_what_they_are(documents: Documents, tmp_path: Path) -> None:
    ring = opened(documents, files(tmp_path))
    receipts = asyncio.run(ring.secret(documents, "receipts"))
    assert len(receipts) == 32
    assert asyncio.run(ring.secret(documents, "sessions")) != receipts
    rotated(documents, files(tmp_path, 2), files(tmp_path, 3))
    again = opened(documents, files(tmp_path, 5))
    assert asyncio.run(again.secret(documents, "receipts")) == receipts


# --- Another root -------------------------------------------------------------------------------


def test_a_wrong_passphrase_changes_nothing(documents: Documents) -> None:
    sealed = opened(documents, phrase("correct horse battery")).seal("p", b"text")
    before = record(documents)
    with pytest.raises(RootUnusable, match=r"does not open the data: .* nothing has been changed"):
        opened(documents, phrase("wrong horse battery"))
    with pytest.raises(RootUnusable, match="does not open the data"):
        rotated(documents, phrase("wrong horse battery"), phrase("another passphrase"))
    assert record(documents) == before
    assert opened(documents, phrase("correct horse battery")).open("p", sealed) == b"text"


def test_a_missing_key_file_is_not_replaced(documents: Documents, tmp_path: Path) -> None:
    opened(documents, files(tmp_path))
    (tmp_path / "root.key").unlink()
    with pytest.raises(RootUnusable, match=r"root\.key is missing"):
        opened(documents, files(tmp_path, 2))
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_root_is_said(documents: Documents, tmp_path: Path) -> None:
    opened(documents, phrase("correct horse battery"))
    with pytest.raises(RootUnusable, match="sealed under a passphrase, and a key file was conf"):
        opened(documents, files(tmp_path))
    assert list(tmp_path.iterdir()) == []


def drop_active(ring: RingRecord) -> RingRecord:
    return replace(ring, keys=ring.keys[:1], active=1)


def swap(ring: RingRecord) -> RingRecord:
    one, two = ring.keys
    return replace(
        ring, keys=(replace(one, wrapped=two.wrapped), replace(two, wrapped=one.wrapped))
    )


def go_back(ring: RingRecord) -> RingRecord:
    return replace(ring, active=1)


@pytest.mark.parametrize("alter", [drop_active, swap, go_back])
def test_an_altered_ring_is_noticed(
    documents: Documents, tmp_path: Path, alter: Callable[[RingRecord], RingRecord]
) -> None:
    opened(documents, files(tmp_path))
    rotated(documents, files(tmp_path, 2), files(tmp_path, 3))
    stored = record(documents)
    keys_of(stored, files(tmp_path))
    with pytest.raises(RootUnusable, match=r"in the database (is damaged|was altered)"):
        keys_of(alter(stored), files(tmp_path))


# --- Rotation -----------------------------------------------------------------------------------


def test_rotation_keeps_what_was_sealed(documents: Documents, tmp_path: Path) -> None:
    ring = opened(documents, files(tmp_path))
    sealed = ring.seal("p", b"old")
    old_root = (tmp_path / "root.key").read_text()
    rotated(documents, files(tmp_path, 2), files(tmp_path, 3))
    again = opened(documents, files(tmp_path, 5), SETTLED_MS)
    assert again.open("p", sealed) == b"old"
    assert again.seal("p", b"")[1:5] == bytes((0, 0, 0, 2))
    assert (tmp_path / "root.key").read_text() != old_root
    stored = record(documents)
    assert (stored.active, [key.number for key in stored.keys]) == (2, [1, 2])
    assert [key.created_at_ms for key in stored.keys] == [START_MS, START_MS + 60_000]


def test_the_root_before_opens_nothing_any_more(documents: Documents, tmp_path: Path) -> None:
    opened(documents, phrase("correct horse battery"))
    rotated(documents, phrase("correct horse battery"), phrase("another passphrase"))
    with pytest.raises(RootUnusable, match="does not open"):
        opened(documents, phrase("correct horse battery"))
    opened(documents, phrase("another passphrase"))


def test_from_one_kind_to_another_and_back(documents: Documents, tmp_path: Path) -> None:
    sealed = opened(documents, files(tmp_path)).seal("p", b"1")
    rotated(documents, files(tmp_path), phrase("correct horse battery"))
    assert opened(documents, phrase("correct horse battery")).open("p", sealed) == b"1"
    rotated(documents, phrase("correct horse battery"), files(tmp_path, 3))
    assert opened(documents, files(tmp_path)).open("p", sealed) == b"1"


@pytest.mark.parametrize("moment", ["crash_before_edit", "crash_after_edit"])
def test_a_crash_at_the_edit_leaves_a_root_that_opens(
    store: Store, documents: Documents, tmp_path: Path, moment: str
) -> None:
    sealed = opened(documents, files(tmp_path)).seal("p", b"1")
    setattr(store, moment, True)
    with pytest.raises(Crash):
        rotated(documents, files(tmp_path, 2), files(tmp_path, 3))
    setattr(store, moment, False)
    assert record(documents).active == (2 if moment == "crash_after_edit" else 1)
    assert opened(documents, files(tmp_path, 5)).open("p", sealed) == b"1"
    rotated(documents, files(tmp_path, 6), files(tmp_path, 7))
    assert opened(documents, files(tmp_path, 8)).open("p", sealed) == b"1"


@pytest.mark.parametrize("last", [0, 1])
def test_a_crash_while_the_file_is_swapped_leaves_a_root_that_opens(
    documents: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    sealed = opened(documents, files(tmp_path)).seal("p", b"1")
    source = files(tmp_path, 3)
    rename = Path.rename
    renames = 0

    def crashing(path: Path, target: Path) -> Path:
        nonlocal renames
        if path.suffix != ".unfinished":
            renames += 1
            if renames > last:
                raise Crash
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crashing)
        with pytest.raises(Crash):
            rotated(documents, files(tmp_path, 2), source)
    assert (tmp_path / "root.key").exists() == (last == 0)
    assert opened(documents, files(tmp_path, 5)).open("p", sealed) == b"1"
    assert (tmp_path / "root.key").exists()


def test_of_two_rotations_one_wins_and_its_key_is_there(store: Store, tmp_path: Path) -> None:
    documents, other = Documents(store), Documents(store)
    sealed = opened(documents, files(tmp_path)).seal("p", b"1")
    source = files(tmp_path, 3)
    make = source.next

    def slowly() -> object:
        root = make()
        asyncio.get_running_loop().create_task(
            rotate(other, files(tmp_path), files(tmp_path, 4), TurnedClock(), entropy_of(5))
        )
        return root

    source.next = slowly  # type: ignore[assignment, method-assign]

    async def race() -> None:
        change = documents.change

        async def later(work: object) -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            await change(work)  # type: ignore[arg-type]

        documents.change = later  # type: ignore[assignment, method-assign]
        with pytest.raises(RootUnusable, match="somebody else has rotated"):
            await rotate(documents, files(tmp_path), source, TurnedClock(), entropy_of(6))

    asyncio.run(race())
    assert record(other).active == 2
    assert opened(other, files(tmp_path)).open("p", sealed) == b"1"


def test_a_running_server_takes_a_rotation_up(store: Store, tmp_path: Path) -> None:
    documents, elsewhere = Documents(store), Documents(store)
    running = opened(documents, files(tmp_path))
    rotated(elsewhere, files(tmp_path, 2), files(tmp_path, 3))
    sealed = opened(elsewhere, files(tmp_path), SETTLED_MS).seal("p", b"new")
    with pytest.raises(Unsealable, match="ring key 2, which is not in the ring"):
        running.open("p", sealed)
    asyncio.run(documents.refresh())
    asyncio.run(running.refresh(documents, SETTLED_MS))
    assert running.open("p", sealed) == b"new"
    assert running.seal("p", b"")[4] == 2


def test_a_new_key_seals_when_everybody_has_it(store: Store, tmp_path: Path) -> None:
    documents, elsewhere = Documents(store), Documents(store)
    running = opened(documents, files(tmp_path))
    rotated(elsewhere, files(tmp_path, 2), files(tmp_path, 3))
    started = opened(elsewhere, files(tmp_path), SETTLED_MS - 1)
    asyncio.run(documents.refresh())
    asyncio.run(running.refresh(documents, SETTLED_MS - 1))
    for ring in (running, started):
        assert ring.seal("p", b"")[4] == 1
    asyncio.run(running.refresh(documents, SETTLED_MS))
    assert started.open("p", running.seal("p", b"1")) == b"1"
    assert running.seal("p", b"")[4] == 2


def test_a_server_that_cannot_take_it_up_goes_on(store: Store) -> None:
    documents, elsewhere = Documents(store), Documents(store)
    running = opened(documents, phrase("correct horse battery"))
    rotated(elsewhere, phrase("correct horse battery"), phrase("another passphrase"))
    asyncio.run(documents.refresh())
    with pytest.raises(RootUnusable):
        asyncio.run(running.refresh(documents, SETTLED_MS))
    asyncio.run(running.refresh(documents, SETTLED_MS))  # it is said once
    assert running.seal("p", b"")[4] == 1
    assert running.open("p", running.seal("p", b"1")) == b"1"


def test_a_second_rotation_does_not_hurry_the_first(store: Store, tmp_path: Path) -> None:
    documents = Documents(store)
    opened(documents, files(tmp_path))
    for seed in (2, 4):
        rotated(documents, files(tmp_path, seed), files(tmp_path, seed + 1))
    assert opened(documents, files(tmp_path), SETTLED_MS - 1).seal("p", b"")[4] == 1
    assert opened(documents, files(tmp_path), SETTLED_MS).seal("p", b"")[4] == 3


def test_a_root_that_is_brought_later_is_found(store: Store, tmp_path: Path) -> None:
    documents, elsewhere = Documents(store), Documents(store)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    running = opened(documents, files(here))
    shutil.copytree(here, there)
    rotated(elsewhere, files(there, 2), files(there, 3))
    asyncio.run(documents.refresh())
    with pytest.raises(RootUnusable):
        asyncio.run(running.refresh(documents, SETTLED_MS))
    shutil.copy(there / "root.key", here)
    asyncio.run(running.refresh(documents, SETTLED_MS + RETRIED_AFTER_MS))
    assert running.seal("p", b"")[4] == 2


def test_there_is_nothing_to_rotate_before_the_first_start(
    documents: Documents, tmp_path: Path
) -> None:
    with pytest.raises(RootUnusable, match="there is no key ring yet"):
        rotated(documents, files(tmp_path), files(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_is_stored_holds_no_key(documents: Documents, tmp_path: Path) -> None:
    key = bytes.fromhex("07" * 32)
    asyncio.run(open_ring(documents, files(tmp_path), TurnedClock(), lambda size: key[:size]))
    stored = repr(record(documents))
    root = bytes.fromhex((tmp_path / "root.key").read_text())
    assert repr(key)[2:-1] not in stored
    assert repr(root)[2:-1] not in stored
