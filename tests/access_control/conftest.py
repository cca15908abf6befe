"""One server per module: what a module's tests make is nobody else's."""

from collections.abc import Iterator

import pytest

from tests.access_control.stage import Stage, open_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("access")) as opened:
        yield opened
