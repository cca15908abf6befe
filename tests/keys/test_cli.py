"""`stanchion keys`, over a data directory."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stanchion.cli import keys as verb
from stanchion.cli import offline
from stanchion.config import Settings
from stanchion.keys.choice import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE, root_of
from stanchion.keys.key_file import FileSource
from stanchion.keys.ring import open_ring
from stanchion.store.sqlite import SqliteStore
from tests.keys.conftest import TurnedClock, entropy_of


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    SqliteStore.open(tmp_path, reserve_bytes=0).close()
    return tmp_path


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(verb.keys, list(arguments), env=environment)


def started(data_dir: Path, environment: dict[str, str]) -> None:
    settings = Settings(data_dir=str(data_dir))
    source = root_of(settings, data_dir, environment)
    with offline.documents(settings) as run:
        run(lambda found: open_ring(found, source, TurnedClock(), entropy_of(1)))


def test_status_shows_what_there_is_and_no_key(data_dir: Path) -> None:
    started(data_dir, {})
    result = run("status", "--data-dir", str(data_dir))
    assert result.exit_code == 0
    first, second = result.output.splitlines()
    fingerprint = FileSource(data_dir / "root.key", entropy_of(1)).first().parameters["fingerprint"]
    assert first == f"root of trust: file (fingerprint {fingerprint})"
    assert second.startswith("ring key 1: made 2023-11-14, ")
    assert second.endswith(" days old, active")
    assert (data_dir / "root.key").read_text().strip() not in result.output


def test_rotate_the_key_file(data_dir: Path) -> None:
    started(data_dir, {})
    before = (data_dir / "root.key").read_text()
    result = run("rotate", "--data-dir", str(data_dir))
    assert result.exit_code == 0, result.output
    assert "under the key file" in result.output
    assert "A backup made before now opens with the root of its time only" in result.output
    after = (data_dir / "root.key").read_text()
    assert after != before
    assert after.strip() not in result.output
    _, first, second = run("status", "--data-dir", str(data_dir)).output.splitlines()
    assert first.endswith(" days old, active")
    assert " 0 days old, active in " in second


@pytest.mark.parametrize(
    ("seconds", "roles"),
    [("3600", ("active", "active in 3600 s")), ("0", ("opens what it sealed before", "active"))],
)
def test_a_rotation_says_when_the_new_key_seals(
    data_dir: Path, seconds: str, roles: tuple[str, str]
) -> None:
    started(data_dir, {})
    assert run("rotate", "--data-dir", str(data_dir), "--seal-after", seconds).exit_code == 0
    _, *lines = run("status", "--data-dir", str(data_dir)).output.splitlines()
    for line, role in zip(lines, roles, strict=True):
        assert re.sub(r"active in 3[56]\d\d s", "active in 3600 s", line).endswith(
            f"days old, {role}"
        )


def test_rotate_from_a_file_to_a_passphrase_and_to_another(data_dir: Path) -> None:
    started(data_dir, {})
    place = ("rotate", "--data-dir", str(data_dir))
    first = run(*place, "--to", "passphrase", **{NEW_PASSPHRASE_VARIABLE: "correct horse battery"})
    assert first.exit_code == 0, first.output
    assert "with the new passphrase from now on" in first.output
    assert "correct horse" not in first.output
    started(data_dir, {PASSPHRASE_VARIABLE: "correct horse battery"})
    old = {PASSPHRASE_VARIABLE: "correct horse battery"}
    second = run(*place, **old, **{NEW_PASSPHRASE_VARIABLE: "another passphrase"})
    assert second.exit_code == 0, second.output
    started(data_dir, {PASSPHRASE_VARIABLE: "another passphrase"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status",), "no data directory"),
        (("rotate",), "no data directory"),
        (("status", "--data-dir", "HERE"), "there is no key ring yet"),
        (("rotate", "--data-dir", "HERE"), "there is no key ring yet"),
    ],
)
def test_mistakes_are_one_line(data_dir: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run(*(argument.replace("HERE", str(data_dir)) for argument in arguments))
    assert result.exit_code == 2
    assert result.output.startswith(f"Error: {message}")
    assert result.output.count("\n") == 1


def test_a_wrong_passphrase_is_one_line(data_dir: Path) -> None:
    started(data_dir, {PASSPHRASE_VARIABLE: "correct horse battery"})
    result = run(
        *("rotate", "--data-dir", str(data_dir)),
        **{PASSPHRASE_VARIABLE: "wrong horse battery", NEW_PASSPHRASE_VARIABLE: "x" * 12},
    )
    assert result.exit_code == 2
    assert "does not open the data" in result.output
    assert result.output.count("\n") == 1
