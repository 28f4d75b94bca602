from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.daemon import Daemon, daemon


@pytest.fixture(scope="session")
def ipfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("ipfs")) as node:
        yield node
