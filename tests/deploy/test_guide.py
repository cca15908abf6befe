"""What the files and the guide name exists: settings, metrics, alerts; and its numbers are so."""

import inspect
import re

import yaml

from stanchion.config import TYPES, Settings
from stanchion.store.postgres.engine import PostgresStore
from tests.deploy import files

SECRETS = {"STANCHION_ROOT_ACCESS_KEY_ID", "STANCHION_ROOT_SECRET_ACCESS_KEY"}
REFERENCE = files.CHECKOUT / "docs" / "reference"


def test_every_setting_that_is_named_exists() -> None:
    settings = {f"STANCHION_{name.upper()}" for name in TYPES}
    assert files.variables() - settings - SECRETS == set()


def test_every_metric_of_the_alerts_exists() -> None:
    named = set(re.findall(r"\bstanchion_[a-z_]+", " ".join(_expressions())))
    known = set(re.findall(r"^### `(.+)`$", (REFERENCE / "metrics.md").read_text("utf-8"), re.M))
    assert named
    assert {name.removesuffix("_bucket") for name in named} <= known


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
