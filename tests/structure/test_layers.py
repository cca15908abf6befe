"""A layer imports only from the layers below it; the layers are listed in `pyproject.toml`."""

import subprocess
import sys
from pathlib import Path

from tests.structure import tree


def test_imports_point_downwards() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint_imports, "--no-cache"], cwd=tree.CHECKOUT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
