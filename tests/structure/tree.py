"""What the structure tests look at: the files of the checkout, and the functions in them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = CHECKOUT / "src" / "stanchion"
CODE_FOLDERS = ("src", "tests", "tools", "bench", "examples", "scripts")
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Sized(NamedTuple):
    name: str
    """Such as `src/stanchion/gateway.py::Gateway.answer`."""
    lines: int


def python_files(*folders: str) -> list[Path]:
    return sorted(
        path
        for folder in folders or CODE_FOLDERS
        for path in (CHECKOUT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def markdown_files() -> list[Path]:
    top = sorted(CHECKOUT.glob("*.md"))
    return (
        top
        + sorted((CHECKOUT / "docs").rglob("*.md"))
        + sorted((CHECKOUT / "examples").rglob("*.md"))
    )


def relative(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def functions(path: Path) -> Iterator[Sized]:
    """Every function of a file with its length: docstring included, decorators not."""
    yield from _functions_in(parsed(path), relative(path) + "::")


def _functions_in(node: ast.AST, prefix: str) -> Iterator[Sized]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield Sized(prefix + child.name, (child.end_lineno or child.lineno) - child.lineno + 1)
        named = isinstance(child, (*Function.__args__, ast.ClassDef))  # type: ignore[attr-defined]
        yield from _functions_in(child, f"{prefix}{child.name}." if named else prefix)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file by the dotted name it is written with."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            yield ast.unparse(node.func), node
