"""What may be said about shards, and that their passwords are never shown."""

import json

import pytest
from click.testing import CliRunner

from stanchion.cli.main import main
from stanchion.config import ConfigError, configure

HOME = "postgresql://db0/stanchion"


def shards(text: str) -> dict[str, str]:
    environment = {"STANCHION_STORE": HOME, "STANCHION_SHARDS": text}
    return configure({}, environment).settings.shard_urls


def test_shards_are_named_urls() -> None:
    assert shards("a=postgresql://u:p=w@db1/x?a=b, b-2=postgres://db2") == {
        "a": "postgresql://u:p=w@db1/x?a=b",
        "b-2": "postgres://db2",
    }


def test_a_url_may_have_several_hosts() -> None:
    assert shards("a=postgresql://db1,db2:5433/x,b=postgresql://db3,db4/x") == {
        "a": "postgresql://db1,db2:5433/x",
        "b": "postgresql://db3,db4/x",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", "not of the form"),
        ("A=postgresql://db1", "not of the form"),
        ("a=mysql://u:secret@db1", "not of the form"),
        ("a=postgresql://db1,a=postgresql://db2", "there is one 'a' already"),
        ("home=postgresql://db1", "there is one 'home' already"),
    ],
)
def test_what_is_no_shard_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as found:
        shards(text)
    assert "secret" not in str(found.value)


def test_shards_need_a_home() -> None:
    with pytest.raises(ConfigError, match="their home"):
        configure({"shards": "a=postgresql://db1"}, {})


def test_passwords_are_not_shown() -> None:
    url = "a=postgresql://u:secret@db1/x"
    shown = CliRunner().invoke(main, ["config", "show", "--store", HOME, "--shards", url])
    assert shown.exit_code == 0
    assert "secret" not in shown.output
    assert json.dumps(["a=postgresql://u:***@db1/x"]) in shown.output


def test_values_of_the_wrong_type_are_not_shown(tmp_path: object) -> None:
    file = f"{tmp_path}/stanchion.toml"
    with open(file, "w") as out:
        out.write('shards = ["a=postgresql://u:secret@db1/x", 5]')
    with pytest.raises(ConfigError, match="shards") as found:
        configure({}, {}, file)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["list"], "say where the home of the shards is"),
        (["list", "--store", "postgresql:///nowhere?host=/nowhere"], "cannot be used"),
        (["drain", "home", "--store", HOME], "the home cannot be drained"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], reason: str) -> None:
    pytest.importorskip("asyncpg")
    refused = CliRunner().invoke(main, ["shard", *arguments])
    assert refused.exit_code == 2
    assert reason in refused.output
    assert len(refused.output.splitlines()) == 1
