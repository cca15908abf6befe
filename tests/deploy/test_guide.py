"""What the files and the guide name exists: settings, metrics, alerts; and its numbers are so."""

import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from stanchion.config import TYPES, Settings
from stanchion.store.postgres.engine import PostgresStore
from tests.deploy import files
from tests.structure import tree

SECRETS = {
    "STANCHION_ROOT_ACCESS_KEY_ID",
    "STANCHION_ROOT_PASSPHRASE",
    "STANCHION_ROOT_SECRET_ACCESS_KEY",
}
REFERENCE = files.CHECKOUT / "docs" / "reference"


def test_every_setting_that_is_named_exists() -> None:
    settings = {f"STANCHION_{name.upper()}" for name in TYPES}
    assert files.variables() - settings - SECRETS == set()


def test_every_metric_of_the_alerts_exists() -> None:
    named = set(re.findall(r"\bstanchion_[a-z_]+", " ".join(_expressions())))
    assert named
    assert {name.removesuffix("_bucket") for name in named} <= _metrics()


def _metrics() -> set[str]:
    return set(re.findall(r"^### `(.+)`$", (REFERENCE / "metrics.md").read_text("utf-8"), re.M))


@pytest.mark.parametrize("path", tree.markdown_files(), ids=tree.relative)
def test_every_metric_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"`(stanchion_[a-z_]+)`", path.read_text("utf-8")))
    assert named - _metrics() == set()


def test_prometheus_itself_calls_whom_it_should() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    rules = Path(__file__).with_name("alerts_test.yaml")
    done = subprocess.run(["promtool", "test", "rules", str(rules)], capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_code_of_the_alerts_exists() -> None:
    (codes,) = [match for e in _expressions() for match in re.findall(r'code=~"([^"]+)"', e)]
    errors = (REFERENCE / "errors.md").read_text("utf-8")
    for code in codes.split("|"):
        assert re.search(rf"\| 50\d \| `{code}` \|", errors)


def _expressions() -> list[str]:
    return [rule["expr"] for rule in _rules()]


def _rules() -> list[dict[str, str]]:
    (group,) = yaml.safe_load(files.text("prometheus/alerts.yaml"))["groups"]
    rules: list[dict[str, str]] = group["rules"]
    return rules


def test_the_guide_says_what_to_do_about_every_alert() -> None:
    text = files.GUIDE.read_text("utf-8")
    missing = [rule["alert"] for rule in _rules() if f"`{rule['alert']}`" not in text]
    assert missing == []


def test_alerts_come_before_the_limits() -> None:
    (limit,) = [
        int(match)
        for e in _expressions()
        for match in re.findall(r"stanchion_connections > (\d+)", e)
    ]
    assert limit == 0.8 * Settings().connections_max


def test_the_number_of_connections_is_right() -> None:
    """Those for transactions, and one that listens."""
    parameter = inspect.signature(PostgresStore.open).parameters["connections_max"]
    text = files.GUIDE.read_text("utf-8")
    assert f"nodes × workers × {parameter.default + 1}" in text
