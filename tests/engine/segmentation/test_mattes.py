"""Mattes on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from void_client.errors import JobError

from void_engine.segmentation import MatteStore


def test_what_is_written_is_read_within_half_a_code(tmp_path: Path) -> None:
    store = MatteStore(tmp_path / "deep", (37, 53))
    matte = np.random.default_rng(1).random((37, 53), dtype=np.float32)
    matte[0], matte[1] = 0.0, 1.0
    assert store.names() == []
    store.write("cup", 3, matte, 0.25)
    read = store.read("cup", 3)
    assert read.dtype == np.float32
    assert np.abs(read - matte).max() <= 1 / 510 + 1e-6
    assert (read[0] == 0).all()
    assert (read[1] == 1).all()
    assert store.confidence("cup", 3) == 0.25
    assert store.names() == ["cup"]
    assert MatteStore(tmp_path / "deep", (37, 53)).has("cup", 3)


def test_what_was_not_written_is_empty_and_unsure(tmp_path: Path) -> None:
    store = MatteStore(tmp_path, (4, 5))
    assert not store.has("cup", 0)
    assert store.read("cup", 0).shape == (4, 5)
    assert not store.read("cup", 0).any()
    assert store.confidence("cup", 0) == 0.0


def test_a_wrong_size_and_a_nan_are_refused(tmp_path: Path) -> None:
    store = MatteStore(tmp_path, (4, 5))
    with pytest.raises(ValueError, match="must be"):
        store.write("cup", 0, np.zeros((5, 4), np.float32))
    with pytest.raises(ValueError, match="NaN"):
        store.write("cup", 0, np.full((4, 5), np.nan, np.float32))
    assert not store.has("cup", 0)


@pytest.mark.parametrize("name", ["", "../cup", "Cup", "a/b", "x" * 65])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match="name of a matte"):
        MatteStore(tmp_path, (4, 5)).write(name, 0, np.zeros((4, 5), np.float32))
