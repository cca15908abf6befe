"""The reference names everything there is, and what the documents point at exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import msgspec
import pytest

from stanchion.cli.main import main
from stanchion.config import Settings
from stanchion.model import iam, kms, sqs, sts
from stanchion.model.errors import ServiceError
from stanchion.model.shapes import Operation, ServiceModel, members
from tests.structure import tree

ARCHITECTURE_LINES_MAX = 300
NOT_OURS = {"stanchion.toml"}  # an operator's own
REFERENCE = tree.CHECKOUT / "docs" / "reference"


def test_every_setting_has_its_heading() -> None:
    fields = {field.name for field in msgspec.structs.fields(Settings)}
    assert fields == _code_headings(REFERENCE / "settings.md")


def test_every_setting_has_its_default() -> None:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^### `(\w+)`\n\nDefault (none|`[^`]*`)", text, re.MULTILINE))
    defaults = {
        field.name: f"`{field.default}`" if field.default not in ("", ()) else "none"
        for field in msgspec.structs.fields(Settings)
    }
    assert documented == defaults


def test_every_verb_has_its_heading() -> None:
    assert {f"stanchion {verb}" for verb in _verbs(main, "")} == (
        _code_headings(REFERENCE / "cli.md")
    )


def _verbs(group: click.Group, prefix: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _verbs(command, f"{prefix}{name} ")
        else:
            yield prefix + name


def test_every_action_has_its_heading() -> None:
    assert set(sqs.OPERATIONS) == _code_headings(REFERENCE / "actions.md")


@pytest.mark.parametrize("service", [iam.SERVICE, sts.SERVICE, kms.SERVICE], ids=lambda s: s.name)
def test_every_other_operation_has_its_row(service: ServiceModel) -> None:
    text = (REFERENCE / "actions.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {service.name.upper()}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [_row(operation) for _, operation in sorted(service.operations.items())]


def _row(operation: Operation) -> str:
    """As the reference has it: what the model requires is in bold."""
    given = [
        f"**`{member.name}`**" if member.required else f"`{member.name}`"
        for member in members(operation.input)
    ]
    found = [f"`{member.name}`" for member in members(operation.output)] if operation.output else []
    return f"| `{operation.name}` | {', '.join(given)} | {', '.join(found)} |"


def test_every_metric_has_its_heading() -> None:
    # A counter is read with `_total` at the end of its name.
    documented = {name.removesuffix("_total") for name in _code_headings(REFERENCE / "metrics.md")}
    text = "".join(
        (tree.SOURCE / file).read_text(encoding="utf-8")
        for file in ("pages.py", "observe/metrics.py")
    )
    assert documented == set(re.findall(r'"(stanchion_[a-z_]+)"', text))


def _code_headings(path: Path) -> set[str]:
    """Headings of the form ### `name`."""
    return set(re.findall(r"^### `(.+)`$", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_error_has_its_row() -> None:
    rows = set(
        re.findall(
            r"^\| `(\S+)` \| (\d+) \| `(\S+)` \|",
            (REFERENCE / "errors.md").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    errors = {
        (error.json_type, str(error.http_status), error.query_code)
        for error in _subclasses(ServiceError)
        if error.__module__.startswith("stanchion.model.")
    }
    assert rows == errors


def _subclasses(error: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for subclass in error.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def test_architecture_stays_short() -> None:
    lines = (tree.CHECKOUT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= ARCHITECTURE_LINES_MAX


def test_every_difference_is_pinned_by_a_test() -> None:
    text = (REFERENCE / "differences.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| (?!What |---)", line)]
    assert rows
    loose = [row for row in rows if not _names_a_test(row)]
    assert loose == []


def _names_a_test(row: str) -> bool:
    """Whether the row's last cell is `tests/file.py::test_name`, and that exists."""
    match = re.fullmatch(r".*\| `(tests/\S+\.py)::(\w+)` \|", row)
    if match is None:
        return False
    path = tree.CHECKOUT / match[1]
    return path.is_file() and match[2] in {
        node.name for node in ast.walk(tree.parsed(path)) if isinstance(node, tree.Function)
    }


@pytest.mark.parametrize("path", tree.markdown_files(), ids=tree.relative)
def test_links_lead_somewhere(path: Path) -> None:
    broken = [link for link in _links(path) if not _resolves(path, link)]
    assert broken == []


@pytest.mark.parametrize("path", tree.markdown_files(), ids=tree.relative)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:[\w.]+/)*\w+\.(?:py|sql|toml|lock|csv))`", path.read_text(encoding="utf-8")
    )
    places = (tree.CHECKOUT, tree.SOURCE, path.parent)
    missing = {name for name in named if not any((place / name).exists() for place in places)}
    assert missing - NOT_OURS == set()


def _links(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))


def _resolves(path: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True  # The network is not asked.
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    return target.exists() and (not anchor or anchor in _anchors(target))


@cache
def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
