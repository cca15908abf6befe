"""The key file: made once, refused when others can read it, never overwritten."""

import os
from pathlib import Path

import pytest

from stanchion.keys.key_file import FileSource
from stanchion.keys.root import Root, RootUnusable, WrongRoot
from tests.keys.conftest import entropy_of


def source(directory: Path, seed: int = 1) -> FileSource:
    return FileSource(directory / "root.key", entropy_of(seed))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    root = source(tmp_path).first()
    path = tmp_path / "root.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["root.key"]
    assert str(path) in root.description
    assert path.read_text().strip() not in root.description
    assert "cannot be read by anybody: back it up apart from the data" in root.loss


def test_one_that_is_there_is_taken(tmp_path: Path) -> None:
    wrapped = source(tmp_path).first().wrap(b"secret", b"aad")
    again = source(tmp_path, seed=2).first()
    assert again.unwrap(wrapped, b"aad") == b"secret"
    assert source(tmp_path, 3).found(again.parameters).unwrap(wrapped, b"aad") == b"secret"


def test_two_that_make_it_at_the_same_moment_have_one(tmp_path: Path) -> None:
    first: list[Root] = []

    def entropy(size: int) -> bytes:
        # Between the look and the writing of the second one.
        if not first:
            first.append(source(tmp_path, seed=2).first())
        return b"2" * size

    second = FileSource(tmp_path / "root.key", entropy).first()
    assert second.parameters == first[0].parameters
    assert names(tmp_path) == ["root.key"]


def test_a_file_system_without_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    root = source(tmp_path).first()
    assert source(tmp_path, seed=2).first().parameters == root.parameters
    assert names(tmp_path) == ["root.key"]


def test_what_is_wrapped_is_bound_to_key_and_aad(tmp_path: Path) -> None:
    first = source(tmp_path)
    root, other = first.first(), first.next()
    wrapped = root.wrap(b"secret", b"aad")
    for wrong, aad, blob in (
        (other, b"aad", wrapped),
        (root, b"AAD", wrapped),
        (root, b"aad", wrapped[:-1] + bytes((wrapped[-1] ^ 1,))),
        (root, b"aad", wrapped[:20]),
    ):
        with pytest.raises(WrongRoot):
            wrong.unwrap(blob, aad)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_one_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    source(tmp_path).first()
    (tmp_path / "root.key").chmod(mode)
    with pytest.raises(RootUnusable, match=rf"root\.key is open to others \(mode 0{mode:o}\)"):
        source(tmp_path).first()


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "xy" * 32, "ab" * 1000, "\xff"])
def test_one_that_holds_something_else_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "root.key"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(RootUnusable, match="does not hold a key of 64 hexadecimal digits"):
        source(tmp_path).first()
    assert path.read_text(encoding="latin-1") == text


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root.key").mkdir(mode=0o700)
    with pytest.raises(RootUnusable, match="is not a file"):
        source(tmp_path).first()


def test_a_missing_directory_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RootUnusable, match=r"cannot write the root key file .*: No such file"):
        source(tmp_path / "none").first()


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "root.key"
    link.symlink_to(elsewhere / "real.key")
    linked = FileSource(link, entropy_of(1))
    linked.first()
    renewed = linked.next()
    linked.settle(renewed)
    assert link.is_symlink()
    assert linked.first().parameters == renewed.parameters
    assert len(names(elsewhere)) == 2


def test_a_missing_one_is_said_to_be_missing(tmp_path: Path) -> None:
    parameters = source(tmp_path).first().parameters
    (tmp_path / "root.key").unlink()
    with pytest.raises(RootUnusable, match=r"root\.key is missing: .*put your copy .* back"):
        source(tmp_path).found(parameters)
    assert names(tmp_path) == []


def test_another_one_is_said_to_be_another(tmp_path: Path) -> None:
    parameters = source(tmp_path).first().parameters
    (tmp_path / "root.key").unlink()
    source(tmp_path, seed=2).first()
    with pytest.raises(RootUnusable, match=r"root\.key is another key"):
        source(tmp_path).found(parameters)


def test_settling_keeps_the_key_before(tmp_path: Path) -> None:
    files = source(tmp_path)
    old = files.first()
    new = files.next()
    files.settle(new)
    files.settle(new)
    assert names(tmp_path) == ["root.key", f"root.key.{old.parameters['fingerprint']}"]
    wrapped = new.wrap(b"1", b"")
    assert files.first().unwrap(wrapped, b"") == b"1"
    wrapped = old.wrap(b"2", b"")
    assert files.found(old.parameters).unwrap(wrapped, b"") == b"2"


def test_a_key_that_cannot_be_moved_is_found_where_it_is(tmp_path: Path) -> None:
    files = source(tmp_path)
    files.first()
    new = files.next()
    beside = tmp_path / f"root.key.{new.parameters['fingerprint']}"
    os.rename(beside, tmp_path / "away")
    files.settle(new)
    os.rename(tmp_path / "away", beside)
    assert files.found(new.parameters).parameters == new.parameters


@pytest.mark.parametrize("parameters", [{}, {"fingerprint": ""}, {"fingerprint": "../../x"}])
def test_a_damaged_fingerprint_names_no_file(tmp_path: Path, parameters: dict[str, str]) -> None:
    with pytest.raises(RootUnusable, match="fingerprint of the root key in the database"):
        source(tmp_path).found(parameters)
