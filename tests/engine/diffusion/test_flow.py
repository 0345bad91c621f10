"""Optical flow: against known motion, the same on any number of threads, and clear where RAFT cannot run."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from void_client.errors import EngineUnavailable

from void_engine.diffusion.flow import RGB8, DisFlow, RaftFlow, flow_method


def texture(height: int, width: int, seed: int = 0) -> RGB8:
    """Blobs of a few pixels, as the pictures have them."""
    rough = np.random.default_rng(seed).random((height // 4 + 1, width // 4 + 1, 3), dtype=np.float32)
    smooth = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth * 255, 0, 255).astype(np.uint8)


@pytest.fixture
def threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def test_it_finds_a_pan_and_says_x_before_y() -> None:
    wide = texture(140, 210)
    one, other = wide[8:136, 10:202], wide[10:138, 5:197]
    flow = DisFlow()(one, other)
    assert flow.shape == (128, 192, 2)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), (5, -2), atol=0.1)


def test_it_finds_a_rotation_to_a_quarter_of_a_pixel() -> None:
    one = texture(128, 192)
    matrix = cv2.getRotationMatrix2D((96, 64), 2.0, 1.02)
    other = cv2.warpAffine(one, matrix, (192, 128), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    y, x = np.mgrid[:128, :192]
    true = np.stack([matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] - (x, y)[i] for i in (0, 1)], axis=-1)
    error = np.linalg.norm(DisFlow()(one, other) - true, axis=-1)[16:-16, 16:-16]
    assert np.median(error) < 0.25


@pytest.mark.parametrize("size", [(16, 16), (16, 96), (64, 16), (48, 80)])
def test_one_picture_twice_does_not_move_at_any_size(size: tuple[int, int]) -> None:
    for frame in (texture(*size), np.full((*size, 3), 90, np.uint8), np.zeros((*size, 3), np.uint8)):
        assert not DisFlow()(frame, frame.copy()).any()


def test_the_answer_depends_neither_on_threads_nor_on_the_call_before(threads: None) -> None:
    one, other, third = (texture(96, 160, seed) for seed in (1, 1, 2))
    other = np.roll(other, 3, axis=1)
    answers = []
    for count in (1, 2, 5):
        cv2.setNumThreads(count)
        flow = DisFlow()
        flow(third, one)
        answers += [flow(one, other).tobytes(), flow(one, other).tobytes()]
    assert len(set(answers)) == 1


def test_frames_that_do_not_fit_each_other_are_refused() -> None:
    frame = texture(32, 32)
    for one, other in ((frame, frame[:16]), (frame[..., 0], frame[..., 0]), (frame, frame.astype(np.float32))):
        with pytest.raises(ValueError, match="two RGB frames"):
            DisFlow()(one, other)


def test_methods_go_by_name() -> None:
    assert isinstance(flow_method("dis"), DisFlow)
    with pytest.raises(EngineUnavailable, match=r"no optical flow 'farneback'.*dis, raft"):
        flow_method("farneback")


def test_raft_without_torchvision_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torchvision" else real(name))
    for make in (lambda: flow_method("raft", weights=tmp_path / "w.safetensors"), lambda: flow_method("raft")):
        with pytest.raises(EngineUnavailable, match=r"needs torchvision.*Install the torchvision.*'dis'"):
            make()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision whose RAFT answers with its two weights everywhere: it shows our side of the call only."""
    torch = pytest.importorskip("torch")

    class Raft(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.shift = torch.nn.Parameter(torch.zeros(2))

        def forward(self, one: Any, other: Any) -> list[Any]:
            assert one.shape == other.shape
            assert one.shape[2] % 8 == one.shape[3] % 8 == 0
            assert min(one.shape[2:]) >= 128
            assert -1 <= one.min()
            assert one.max() <= 1
            rows = torch.arange(one.shape[2]).view(1, 1, -1, 1) * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
            return [torch.zeros(1, 2, 1, 1), self.shift.view(1, 2, 1, 1) + rows.expand(1, 2, -1, one.shape[3])]

    for name in ("torchvision", "torchvision.models", "torchvision.models.optical_flow"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["torchvision.models.optical_flow"].raft_large = lambda weights: Raft()  # type: ignore[attr-defined]


def test_raft_is_called_with_whole_eighths_and_cropped_again(stand_in: None, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    stored = pytest.importorskip("safetensors.torch")
    weights = tmp_path / "raft.safetensors"
    stored.save_file({"shift": torch.tensor([3.0, -1.0])}, str(weights))
    flow = flow_method("raft", weights=weights)(texture(50, 150), texture(50, 150))
    assert flow.shape == (50, 150, 2)
    assert flow.dtype == np.float32
    assert np.all(flow[..., 0] == 3)
    np.testing.assert_array_equal(flow[:, 7, 1], np.arange(50) - 1)


def test_raft_without_its_weights_says_what_to_do(stand_in: None, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"given no weights.*\.safetensors"):
        flow_method("raft")
    with pytest.raises(EngineUnavailable, match=r"not there.*gone\.safetensors.*'dis'"):
        RaftFlow(tmp_path / "gone.safetensors")


def test_torch_is_not_loaded_for_dis() -> None:
    code = (
        "import sys, numpy as np; import void_engine.diffusion.warped_noise as w;"
        "w.warped_latent_noise(lambda i: np.zeros((16, 16, 3), np.uint8), 5, height=16, width=16, seed=1);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
