"""The commands and programs of the README and the guides do what they say, as they are written."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import server
from tests.structure import tree

README = (tree.CHECKOUT / "README.md").read_text(encoding="utf-8")
AWS_CLI = os.environ.get("TEST_AWS_CLI", "")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What a shell has after the README's steps, with a server to talk to."""
    with server.running(tmp_path / "data") as running:
        yield {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": server.ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": server.SECRET_ACCESS_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": running.url,
        }


@pytest.mark.skipif(not AWS_CLI, reason="TEST_AWS_CLI does not name the AWS CLI")
def test_the_commands(environment: dict[str, str]) -> None:
    (queues,) = re.findall(r"^```sh\n(source \./data.+?)^```", README, re.MULTILINE | re.DOTALL)
    (users,) = re.findall(r"^```sh\n(iam\(\).+?)^```", README, re.MULTILINE | re.DOTALL)
    lines = (queues + users).splitlines()
    commands = "\n".join(line for line in lines if not line.startswith("source "))
    environment["PATH"] = f"{Path(AWS_CLI).parent}:{environment['PATH']}"
    printed = run(["bash", "-euc", commands], environment)
    assert '"Body": "hello"' in printed
    assert '"EvalDecision": "allowed"' in printed
    assert '"EvalDecision": "implicitDeny"' in printed


@pytest.mark.parametrize(
    ("path", "output"),
    [
        ("README.md", r"hello\n"),
        ("docs/guides/dead-letters.md", r"True\n(RUNNING|COMPLETED)\n"),
        ("docs/guides/encryption.md", r"alias/orders\n"),
        ("docs/guides/fifo.md", r"\['\+10%', '-1.00'\]\n"),
    ],
)
def test_a_program(environment: dict[str, str], path: str, output: str) -> None:
    text = (tree.CHECKOUT / path).read_text(encoding="utf-8")
    program = "".join(re.findall(r"^```python\n(.+?)^```", text, re.MULTILINE | re.DOTALL))
    assert re.fullmatch(output, run([sys.executable, "-c", program], environment))


def run(command: list[str], environment: dict[str, str]) -> str:
    """What a command prints. It has to succeed."""
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
