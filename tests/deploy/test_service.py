"""The systemd unit: it starts what the guide installs, has time to drain, and may do little."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from stanchion.config import Settings, configure
from tests.deploy import files

UNIT = "systemd/stanchion.service"
GUIDE = files.CHECKOUT / "docs" / "guides" / "one-machine.md"


def values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", files.text(UNIT), re.MULTILINE)


def test_it_starts_what_the_guide_installs_with_the_guides_settings() -> None:
    (command,) = values("ExecStart")
    program, *arguments = command.split()
    guide = GUIDE.read_text("utf-8")
    assert f" {program} " in guide
    ((place, text),) = re.findall(r"cat > (\S+) <<'END'\n(.*?)END", guide, re.DOTALL)
    assert arguments == ["serve", "--config", place]
    settings = configure(tomllib.loads(text), {}).settings
    (state,) = values("StateDirectory")
    assert settings.data_dir == f"/var/lib/{state}"
    assert values("StateDirectoryMode") == ["0700"]


def test_a_server_has_time_to_drain() -> None:
    (seconds,) = values("TimeoutStopSec")
    assert float(seconds) >= Settings().drain_timeout_s + 10


def test_there_are_files_enough() -> None:
    (files_max,) = values("LimitNOFILE")
    assert int(files_max) > Settings().connections_max


def test_the_files_that_the_guide_lists_are_those_of_a_store() -> None:
    source = files.CHECKOUT / "src" / "stanchion"
    (listing,) = re.findall(r"## The files\n\n```\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    named = {line.split()[0] for line in listing.splitlines()}
    written = " ".join(path.read_text("utf-8") for path in source.rglob("*.py"))
    own = named - {"stanchion.db-wal", "stanchion.db-shm", "root.key.FINGERPRINT"}
    assert {name for name in own if f'"{name}"' not in written} == set()


def test_systemd_itself_takes_it(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    unit = tmp_path / "stanchion.service"
    # It wants a program that is there.
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", files.text(UNIT)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "stanchion" not in done.stderr
