"""compose.yaml, haproxy.cfg and database.sh: they agree with each other and with the server."""

import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stanchion.config import Settings, configure
from tests.deploy import files

NODES = ("node1", "node2")


def test_nodes_start_with_these_settings() -> None:
    for name in NODES:
        environment = {
            variable: re.sub(r"\$\{(\w+)[^}]*\}", "AKIAEXAMPLE", value)
            for variable, value in files.compose()["services"][name]["environment"].items()
        }
        configuration = configure({}, environment)
        assert configuration.root_key is not None
        assert configuration.settings.store.startswith("postgresql://")


def test_nodes_have_time_to_drain() -> None:
    for name in NODES:
        service = files.compose()["services"][name]
        drain_timeout_s = float(service["environment"]["STANCHION_DRAIN_TIMEOUT_S"])
        assert float(service["stop_grace_period"].removesuffix("s")) >= drain_timeout_s + 10


def test_nodes_believe_the_balancer_and_nobody_else() -> None:
    services, networks = files.compose()["services"], files.compose()["networks"]
    address = services["balancer"]["networks"]["inside"]["ipv4_address"]
    (subnet,) = networks["inside"]["ipam"]["config"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(subnet["subnet"])
    for name in NODES:
        assert services[name]["environment"]["STANCHION_TRUSTED_PROXIES"] == address


def test_the_root_key_is_where_it_is_looked_for() -> None:
    for name in NODES:
        service = files.compose()["services"][name]
        (secret,) = service["secrets"]
        assert service["environment"]["STANCHION_ROOT_KEY_FILE"] == f"/run/secrets/{secret}"
        assert secret in files.compose()["secrets"]


def test_files_that_are_mounted_exist() -> None:
    for service in files.compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (files.DEPLOY / source).is_file()


def test_the_balancer_knows_the_nodes_and_their_port() -> None:
    servers = re.findall(r"^    server \w+ (\w+):(\d+)$", files.text("haproxy.cfg"), re.MULTILINE)
    assert servers == [(name, str(Settings().port)) for name in NODES]


def test_the_balancer_asks_for_a_page_that_exists() -> None:
    (path,) = re.findall(r"http-check send .* uri (\S+)", files.text("haproxy.cfg"))
    assert path == "/health/ready"
    assert path in files.pages()


def test_the_balancer_waits_longer_than_a_long_poll() -> None:
    (seconds,) = re.findall(r"timeout server (\d+)s", files.text("haproxy.cfg"))
    assert int(seconds) > 20


def test_the_role_and_the_database_are_those_that_nodes_ask_for() -> None:
    text = files.text("database.sh")
    url = files.compose()["services"]["node1"]["environment"]["STANCHION_STORE"]
    named = re.fullmatch(r"postgresql://(\w+)@database:5432/(\w+)", url)
    assert named
    role, database = named.groups()
    assert f"CREATE ROLE {role} LOGIN" in text
    assert f"CREATE DATABASE {database} OWNER {role}" in text


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    script = shutil.copy(files.DEPLOY / "make-secrets", tmp_path)
    subprocess.run([script], check=True, capture_output=True)
    environment, key = tmp_path / ".env", tmp_path / "secrets" / "root.key"
    made = environment.read_bytes(), key.read_bytes()
    assert re.fullmatch(rb"[0-9a-f]{64}\n", made[1])
    assert environment.stat().st_mode & 0o077 == key.stat().st_mode & 0o077 == 0
    subprocess.run([script], check=True, capture_output=True)
    assert (environment.read_bytes(), key.read_bytes()) == made


@pytest.mark.parametrize("openssl", ["exit 1", "exit 0", "echo deadbeef"])
def test_without_random_numbers_no_secret_is_made(tmp_path: Path, openssl: str) -> None:
    script = shutil.copy(files.DEPLOY / "make-secrets", tmp_path)
    broken = tmp_path / "bin" / "openssl"
    broken.parent.mkdir()
    broken.write_text(f"#!/bin/sh\n{openssl}\n")
    broken.chmod(0o700)
    environment = {**os.environ, "PATH": f"{broken.parent}:{os.environ['PATH']}"}
    made = subprocess.run([script], env=environment, capture_output=True)
    assert made.returncode != 0
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "make-secrets"}


def test_the_root_users_key_may_be_taken_out_again() -> None:
    for name in NODES:
        environment = files.compose()["services"][name]["environment"]
        absent = {
            variable: re.sub(r"\$\{\w+:-\}", "", value)
            for variable, value in environment.items()
            if variable.startswith("STANCHION_")
        }
        assert configure({}, absent).root_key is None


def test_every_secret_that_compose_wants_is_made(tmp_path: Path) -> None:
    script = shutil.copy(files.DEPLOY / "make-secrets", tmp_path)
    subprocess.run([script], check=True, capture_output=True)
    pairs = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert pairs.keys() == set(re.findall(r"\$\{(\w+):[?-]", files.text("compose.yaml")))
    assert all(pairs.values())
    configure(
        {},
        {
            "STANCHION_ROOT_ACCESS_KEY_ID": pairs["ROOT_ACCESS_KEY_ID"],
            "STANCHION_ROOT_SECRET_ACCESS_KEY": pairs["ROOT_SECRET_ACCESS_KEY"],
        },
    )


def test_haproxy_itself_takes_the_file() -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    command = ["haproxy", "-c", "-q", "-f", str(files.DEPLOY / "haproxy.cfg")]
    assert subprocess.run(command, capture_output=True, timeout=10).returncode == 0
