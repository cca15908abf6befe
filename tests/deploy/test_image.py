"""The Dockerfile: what it copies exists, what it installs is locked, and it is not root."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from stanchion.config import Settings, configure
from stanchion.keys.choice import root_of
from stanchion.keys.root import RootUnusable
from tests.deploy import files

RUN_AS = "10001"


def test_whatever_is_copied_is_in_the_checkout() -> None:
    copied = [name for name in _copied() if not (files.CHECKOUT / name).exists()]
    assert copied == []


def test_whatever_is_copied_is_let_through_to_the_builder() -> None:
    lines = (files.CHECKOUT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines
    let_through = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert let_through == set(_copied())


def _copied() -> list[str]:
    """What comes from the checkout, not from an earlier stage."""
    return [
        source
        for name, arguments in files.dockerfile()
        if name in ("COPY", "ADD") and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]


def test_packages_are_installed_by_their_hashes_or_not_fetched_at_all() -> None:
    steps = [rest for name, rest in files.dockerfile() if name == "RUN"]
    installs = [found for step in steps for found in re.findall(r"pip install [^&]*", step)]
    assert len(installs) == 2
    for install in installs:
        assert "--require-hashes" in install or "--no-deps --no-build-isolation ." in install


def test_the_image_runs_as_a_user_that_is_not_root() -> None:
    (user,) = [rest for name, rest in files.last_stage() if name == "USER"]
    assert user == f"{RUN_AS}:{RUN_AS}"
    assert f"useradd --uid {RUN_AS}" in " ".join(rest for _, rest in files.last_stage())


def test_its_settings_are_valid_and_its_ports_are_the_defaults() -> None:
    settings = configure({}, _environment()).settings
    assert settings.host == "0.0.0.0"
    (exposed,) = [rest for name, rest in files.last_stage() if name == "EXPOSE"]
    assert exposed.split() == [str(Settings().port), str(Settings().tls_port)]


def _environment() -> dict[str, str]:
    """The settings that the image brings."""
    pairs = [
        pair.split("=", 1)
        for name, rest in files.last_stage()
        if name == "ENV"
        for pair in rest.split()
    ]
    return {name: value for name, value in pairs if name.startswith("STANCHION_")}


def test_a_node_has_no_place_for_keys_that_ends_with_its_container() -> None:
    """A database and no root key: with a data directory of the image's, one would be made there."""
    store = {"STANCHION_STORE": "postgresql://stanchion@database/stanchion"}
    settings = configure({}, {**_environment(), **store}).settings
    with pytest.raises(RootUnusable, match="no root of trust"):
        root_of(settings, settings.data_path, {})


def test_where_state_is_has_to_be_said() -> None:
    assert not configure({}, _environment()).settings.has_place


def test_a_volume_for_state_belongs_to_the_user_of_the_image() -> None:
    (volume,) = [rest for name, rest in files.last_stage() if name == "VOLUME"]
    steps = " ".join(rest for name, rest in files.last_stage() if name == "RUN")
    assert f"install --directory --owner {RUN_AS} --group {RUN_AS} --mode 0700 {volume}" in steps
    assert f"--env STANCHION_DATA_DIR={volume} --volume stanchion:{volume}" in files.text(
        "Dockerfile"
    )


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD"])
def test_the_server_itself_gets_the_signals(name: str) -> None:
    (arguments,) = [rest for found, rest in files.last_stage() if found == name]
    assert all(isinstance(word, str) for word in json.loads(arguments))


def test_it_ends_on_sigterm() -> None:
    assert ("STOPSIGNAL", "SIGTERM") in files.last_stage()


def test_the_lock_has_what_the_runtime_lock_has_and_asyncpg() -> None:
    image, runtime, tested = (
        _pins(files.CHECKOUT / f"requirements{name}.lock") for name in ("-postgres", "", "-test")
    )
    assert image.keys() - runtime.keys() == {"asyncpg"}
    assert image == {name: tested[name] for name in image}
    assert runtime.items() <= image.items()


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text("utf-8"), re.MULTILINE))


def test_the_base_image_has_a_python_that_the_package_wants() -> None:
    project = tomllib.loads((files.CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"BASE=python:{project['requires-python'].removeprefix('>=')}-slim" in files.text(
        "Dockerfile"
    )
