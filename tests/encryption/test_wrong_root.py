"""A server whose root of trust is not the one says so in one line, and touches nothing."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from msgspec import Struct

from stanchion.keys.choice import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE
from tests.access_control.stage import Stage
from tests.encryption.rig import Installation, receive

PASSPHRASE = "correct horse battery staple"


class Roots(Struct):
    """Two installations by the kind of their root, each with a message."""

    by_kind: Mapping[str, Installation]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    given = {"file": {}, "passphrase": {"root_passphrase": PASSPHRASE}}
    made = {}
    for kind, settings in given.items():
        made[kind] = Installation(tmp_path_factory.mktemp(kind), **settings)
        with made[kind].serving() as stage:
            stage.sends(stage.root_of("000000000000"), stage.queue("q"))
    return Roots(made)


# --- What may be wrong ----------------------------------------------------------------------------

Change = Callable[[Path], AbstractContextManager[None]]
"""Of a data directory, for the length of a block."""


@contextmanager
def right(data_dir: Path) -> Iterator[None]:
    yield


def root_key(change: Callable[[Path], object]) -> Change:
    """The key file is changed for the length of a block."""

    @contextmanager
    def changed(data_dir: Path) -> Iterator[None]:
        path, kept = data_dir / "root.key", data_dir.parent / "root.key.kept"
        path.rename(kept)
        path.write_bytes(kept.read_bytes())
        path.chmod(0o600)
        change(path)
        try:
            yield
        finally:
            if path.is_dir():
                path.rmdir()
            kept.rename(path)

    return changed


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


class Case(Struct):
    name: str
    kind: str
    """Of the root that the data is sealed under."""
    texts: tuple[str, ...]
    """What the line has to say."""
    around: Change = right
    environment: Mapping[str, str] = {}


FILE = ("root.key", "sealed under the key with fingerprint")
CASES = (
    Case("missing", "file", (*FILE, "is missing"), root_key(Path.unlink)),
    Case(
        "foreign",
        "file",
        (*FILE, "is another key"),
        root_key(lambda path: path.write_text("ab" * 32)),
    ),
    Case(
        "open to others",
        "file",
        ("root.key is open to others (mode 0640)", "chmod 600"),
        root_key(lambda path: path.chmod(0o640)),
    ),
    Case(
        "short",
        "file",
        ("does not hold a key of 64 hexadecimal digits",),
        root_key(lambda path: path.write_text("ab" * 31)),
    ),
    Case(
        "empty",
        "file",
        ("does not hold a key of 64 hexadecimal digits",),
        root_key(lambda path: path.write_text("")),
    ),
    Case("a directory", "file", ("root.key is not a file",), root_key(_directory)),
    Case(
        "a passphrase for a file",
        "file",
        ("sealed under a key file, and a passphrase was configured", "stanchion keys rotate"),
        environment={PASSPHRASE_VARIABLE: PASSPHRASE},
    ),
    Case(
        "two roots",
        "file",
        ("one root of trust is needed, and file and passphrase are given",),
        environment={
            PASSPHRASE_VARIABLE: PASSPHRASE,
            "STANCHION_ROOT_KEY_FILE": "/nonexistent/root.key",
        },
    ),
    Case(
        "a wrong passphrase",
        "passphrase",
        ("passphrase (scrypt n=65536", "does not open the data", "nothing has been changed"),
        environment={PASSPHRASE_VARIABLE: "wrong horse battery staple"},
    ),
    Case(
        "an empty passphrase",
        "passphrase",
        (f"a passphrase is needed: in {PASSPHRASE_VARIABLE}, or from a file descriptor",),
        environment={PASSPHRASE_VARIABLE: ""},
    ),
    Case(
        "no passphrase",
        "passphrase",
        ("sealed under a passphrase, and a key file was configured",),
    ),
    Case(
        "a descriptor that is not open",
        "passphrase",
        ("cannot read a passphrase from file descriptor 99",),
        environment={"STANCHION_ROOT_PASSPHRASE_FD": "99"},
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_start_with_a_wrong_root_is_one_line_and_changes_nothing(
    roots: Roots, case: Case
) -> None:
    installation = roots.by_kind[case.kind]
    with case.around(installation.data_dir):
        before = installation.digests()
        done = installation.run("serve", "--port", "0", environment=case.environment)
        assert installation.digests() == before
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    for text in case.texts:
        assert text in line
    assert PASSPHRASE not in line


@pytest.mark.parametrize("kind", ["file", "passphrase"])
def test_a_rotation_with_a_wrong_root_changes_nothing_either(roots: Roots, kind: str) -> None:
    installation = roots.by_kind[kind]
    environment = {NEW_PASSPHRASE_VARIABLE: "another horse battery staple"}
    if kind == "passphrase":
        environment[PASSPHRASE_VARIABLE] = "wrong horse battery staple"
        around: Change = right
    else:
        around = root_key(lambda path: path.write_text("ab" * 32))
    with around(installation.data_dir):
        before = installation.digests()
        done = installation.run("keys", "rotate", "--to", "passphrase", environment=environment)
        assert installation.digests() == before
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["file", "passphrase"])
def test_the_right_root_still_opens_everything(roots: Roots, kind: str) -> None:
    """To be run last: what the others did has cost nothing."""
    with roots.by_kind[kind].serving() as stage:
        assert _bodies(stage) == ["hello"]


def _bodies(stage: Stage) -> list[str]:
    return [message["Body"] for message in receive(stage.sqs, "q")]
