"""`stanchion config show`, `version`, and the help."""

import os
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stanchion.cli.main import main
from stanchion.config import TYPES


def run(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    clean = dict.fromkeys(name for name in os.environ if name.startswith("STANCHION_"))
    return CliRunner().invoke(main, list(arguments), env={**clean, **(environment or {})})


def test_what_is_printed_is_a_configuration_file(tmp_path: Path) -> None:
    first = run("config", "show", "--port", "1", environment={"STANCHION_REGIONS": "a-1,b-2"})
    assert first.exit_code == 0
    values = tomllib.loads(first.output)
    assert list(values) == list(TYPES)
    assert (values["port"], values["regions"]) == (1, ["a-1", "b-2"])
    file = tmp_path / "stanchion.toml"
    file.write_text(first.output)
    second = run("config", "show", "--config", str(file))
    assert tomllib.loads(second.output) == values


def test_sources_are_named(tmp_path: Path) -> None:
    file = tmp_path / "stanchion.toml"
    file.write_text('log_level = "debug"')
    output = run(
        *("config", "show", "--config", str(file), "--data-dir", "d"),
        environment={"STANCHION_TLS_PORT": "1"},
    ).output
    sources = {line.split()[0]: line.rpartition("  # ")[2] for line in output.splitlines()}
    assert sources["log_level"] == str(file)
    assert sources["data_dir"] == "--data-dir"
    assert sources["tls_port"] == "STANCHION_TLS_PORT"
    assert sources["host"] == "default"


def test_credentials_are_not_shown() -> None:
    result = run(
        *("config", "show"),
        environment={
            "STANCHION_ROOT_ACCESS_KEY_ID": "AKIDHIDDEN",
            "STANCHION_ROOT_SECRET_ACCESS_KEY": "hidden-secret",
        },
    )
    assert result.exit_code == 0
    assert "HIDDEN" not in result.output.upper()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("config", "show", "--port", "x"), "--port: a whole number from 0 to 65535, got 'x'"),
        (("serve", "--nope"), "No such option '--nope'."),
        (("serve", "there"), "Got unexpected extra argument (there) (see main serve --help)"),
        (("account", "root-key"), "Missing argument 'ACCOUNT'. (see main account root-key --help)"),
        (("--nope",), "No such option '--nope'. (see main --help)"),
        (("serve", "--config", "/missing"), "/missing: No such file or directory"),
        (("serve",), "no data directory: say where state is to live with --data-dir DIR"),
        (("serve", "--data-dir", "d", "--store", "x"), "store: 'x' is neither 'sqlite' nor"),
        (("dev", "--host", "0.0.0.0"), "0.0.0.0 can be reached from other machines"),
        (("dev", "--host", "example.com"), "example.com can be reached from other machines"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.output.startswith(f"Error: {message}")
    assert result.output.count("\n") == 1


def test_version() -> None:
    assert run("version").output.startswith("stanchion 0.")


@pytest.mark.parametrize("verb", ["serve", "dev", "bench", "config", "version"])
def test_every_verb_has_help(verb: str) -> None:
    assert verb in run("--help").output
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert "Usage: main" in result.output


def test_an_unknown_verb() -> None:
    assert run("swim").exit_code == 2
