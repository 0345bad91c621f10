from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.servers import RunningServer, digests, resolve, write_shot


@pytest.fixture(scope="session")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shot on disk. Read only."""
    return write_shot(tmp_path_factory.mktemp("shot"))


@pytest.fixture(scope="session")
def long_shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shot whose generation takes long enough to be killed in. Read only."""
    return write_shot(tmp_path_factory.mktemp("long"), width=320, height=180, frames=10)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that several tests share; none may restart it or fill it."""
    with RunningServer(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def expected(long_shot: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What an uninterrupted run of the long shot delivers."""
    folder = tmp_path_factory.mktemp("expected")
    with RunningServer(folder / "data") as running, running.client() as client:
        return digests(client.run("whole", resolve(long_shot), folder / "out"))
