"""A tiny VOID model of our own making, so that these tests run where ``../shared`` is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tiny_void import TinyModel, write_tiny_model


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads that wait for each other make tiny models a hundred times slower on a machine that is busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Random weights in the real layout, 2 blocks of 64 channels."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny-void"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
