"""The quickstart does what it says, on a server of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.structure import tree


def test_the_quickstart_plays_to_the_end(tmp_path: Path) -> None:
    script = tree.CHECKOUT / "scripts" / "quickstart.py"
    run = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "bodies are encrypted at rest" in run.stdout
    assert "the producer receives a message: refused, AccessDenied" in run.stdout
    assert "the producer sends over plain HTTP: refused, InvalidSecurity" in run.stdout
    assert "8 messages were received 3 times in vain" in run.stdout
    assert run.stdout.count("there is no warehouse tallinn") == 5
    assert "the table holds all 3,000 rows of the file" in run.stdout
    assert "400 adjustments were applied in order, each once" in run.stdout
    assert "left with status 0" in run.stdout
