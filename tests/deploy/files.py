"""The files of deploy/, read: what the tests of this folder look at."""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOY = CHECKOUT / "deploy"
GUIDE = CHECKOUT / "docs" / "guides" / "production.md"


class Instruction(NamedTuple):
    """A line of a Dockerfile, continued lines joined."""

    name: str
    arguments: str


@cache
def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


@cache
def dockerfile() -> tuple[Instruction, ...]:
    """The instructions of the Dockerfile in their order."""
    lines = [line for line in text("Dockerfile").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return tuple(Instruction(name, " ".join(rest.split())) for name, rest in pairs)


def last_stage() -> tuple[Instruction, ...]:
    """What the image is made of."""
    start = max(i for i, instruction in enumerate(dockerfile()) if instruction.name == "FROM")
    return dockerfile()[start:]


@cache
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text("compose.yaml"))
    return loaded


@cache
def manifests() -> dict[str, dict[str, Any]]:
    """The resources for Kubernetes by their path under deploy/kubernetes/."""
    folder = DEPLOY / "kubernetes"
    return {
        path.relative_to(folder).as_posix(): yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.yaml"))
    }


@cache
def pod() -> dict[str, Any]:
    """The specification of a node's pod."""
    spec: dict[str, Any] = manifests()["base/deployment.yaml"]["spec"]["template"]["spec"]
    return spec


def node() -> dict[str, Any]:
    """The container of a pod that serves."""
    (container,) = pod()["containers"]
    assert isinstance(container, dict)
    return container


def configured() -> dict[str, str]:
    """The settings of nodes in Kubernetes: the base's, and the example's over them."""
    literals = [
        literal
        for place in ("base", "example")
        for generator in manifests()[f"{place}/kustomization.yaml"]["configMapGenerator"]
        for literal in generator["literals"]
    ]
    return dict(literal.split("=", 1) for literal in literals)


def variables() -> set[str]:
    """Every `STANCHION_…` that is named in a file of deploy/ or in the guide."""
    paths = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]
    found: set[str] = set()
    for path in [*paths, GUIDE]:
        if path.name != ".env" and "secrets" not in path.parts:
            found |= set(re.findall(r"STANCHION_[A-Z0-9_]*[A-Z0-9]", path.read_text("utf-8")))
    return found


def pages() -> set[str]:
    """The paths that a server answers without a signature."""
    source = (CHECKOUT / "src" / "stanchion" / "pages.py").read_text("utf-8")
    return set(re.findall(r'"(/[a-z/]+)":', source))
