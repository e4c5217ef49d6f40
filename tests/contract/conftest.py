from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.other_process import OtherProcess


@pytest.fixture(scope="session")
def other_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherProcess]:
    """A Python that has seen nothing of what the tests made."""
    process = OtherProcess(tmp_path_factory.mktemp("answers"))
    yield process
    process.python.communicate()
