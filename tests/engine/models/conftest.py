from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub
from model_samples import BASE_REPOSITORY, BASE_REVISION, REPOSITORY, VOID_REVISION, base_files, pass_files

from void_engine.models.hub import Hub


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's proxy, nor token, nor mirror has a part in the tests."""
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    server = FakeHub()
    server.repositories[REPOSITORY] = (VOID_REVISION, pass_files())
    server.repositories[BASE_REPOSITORY] = (BASE_REVISION, base_files())
    yield server
    server.stop()


@pytest.fixture
def hub(fake: FakeHub, tmp_path: Path) -> Iterator[Hub]:
    """The client's side. Closed before the server: a kept-alive connection would outlive the test."""
    hub = Hub(fake.endpoint)
    yield hub
    hub.close()
