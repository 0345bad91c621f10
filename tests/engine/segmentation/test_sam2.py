"""SAM 2.1 with tiny random weights: what is asked of the model, what comes of it, and that memory stays flat."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_sam2 import write_tiny_sam2
from void_client.errors import Cancelled, EngineUnavailable, JobError, ModelError

from void_engine.models.catalogue import SAM2
from void_engine.models.sam2_folder import find_sam2
from void_engine.segmentation.interface import Box, Click, Prompt
from void_engine.segmentation.mattes import MatteStore
from void_engine.segmentation.sam2 import Sam2Segmenter, nearest

HEIGHT, WIDTH = 60, 96


class Square:
    """A red square that moves to the right over a still, noisy ground."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._ground = np.random.default_rng(5).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> tuple[int, int]:
        return HEIGHT, WIDTH

    def rgb(self, position: int) -> np.ndarray:
        self.asked.append(position)
        picture = self._ground.copy()
        left = 10 + 2 * (position % 20)
        picture[20:40, left : left + 24] = (200, 30, 40)
        return picture

    def proxy(self, position: int, long_side: int) -> np.ndarray:
        raise AssertionError("the model wants the plate itself")


def quiet(done: int, of: int, what: str) -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam2(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=["transformers", "meta"])
def segmenter(request: pytest.FixtureRequest, folder: Path) -> Sam2Segmenter:
    return Sam2Segmenter(folder, backend=request.param, device="cpu")


def run(segmenter: Sam2Segmenter, root: Path, count: int, *prompts: Prompt, tick=quiet) -> MatteStore:
    out = MatteStore(root, (HEIGHT, WIDTH))
    segmenter.segment(Square(count), prompts, out, tick)
    return out


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.npz"))}


def test_a_click_in_mid_clip_gives_a_matte_for_every_frame(segmenter, tmp_path):
    heard = []
    prompt = Prompt("square", clicks=(Click(3, 40, 30),))
    out = run(segmenter, tmp_path, 7, prompt, tick=lambda *told: heard.append(told))
    for position in range(7):
        assert out.has("square", position)
        assert out.read("square", position).any()
        assert 0 < out.confidence("square", position) <= 1
    assert [done for done, _, _ in heard] == list(range(8))
    assert {of for _, of, _ in heard} == {7}


def test_what_was_said_decides_on_frames_far_from_it(segmenter, tmp_path):
    one = run(segmenter, tmp_path / "a", 4, Prompt("x", clicks=(Click(0, 20, 30),)))
    other = run(segmenter, tmp_path / "b", 4, Prompt("x", clicks=(Click(0, 80, 50),)))
    assert np.abs(one.read("x", 3) - other.read("x", 3)).max() > 0.01


def test_the_same_bits_after_a_kill_and_beside_other_objects(segmenter, tmp_path):
    prompts = (
        Prompt("one", clicks=(Click(2, 40, 30), Click(2, 5, 5, False), Click(4, 60, 30, False))),
        Prompt("two", boxes=(Box(4, 10, 10, 60, 50),), clicks=(Click(4, 30, 30),)),
    )
    run(segmenter, tmp_path / "whole", 6, *prompts)
    left = 5

    def killed(done: int, of: int, what: str) -> None:
        if done == left:
            raise Cancelled("killed")

    with pytest.raises(Cancelled):
        run(segmenter, tmp_path / "killed", 6, *prompts, tick=killed)
    assert len(files(tmp_path / "killed")) == left
    run(segmenter, tmp_path / "killed", 6, *prompts)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    for prompt in prompts:
        run(segmenter, tmp_path / "alone", 6, prompt)
    assert files(tmp_path / "alone") == files(tmp_path / "whole")


def test_a_given_matte_stays_as_it_is_and_is_followed(segmenter, tmp_path):
    matte = np.zeros((HEIGHT, WIDTH), np.float32)
    matte[20:40, 14:38] = 1.0
    matte[20:40, 38] = 0.4
    out = run(segmenter, tmp_path, 5, Prompt("x", mattes={2: matte}))
    assert np.abs(out.read("x", 2) - matte).max() <= 1 / 510 + 1e-6
    assert out.confidence("x", 2) == 1.0
    assert all(out.has("x", position) for position in range(5))


def test_mattes_on_every_frame_need_no_model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"no weights at all")
    matte = np.ones((HEIGHT, WIDTH), np.float32)
    prompt = Prompt("x", mattes=dict.fromkeys(range(3), matte))
    out = run(Sam2Segmenter(tmp_path), tmp_path / "out", 3, prompt)
    assert all(out.read("x", position).min() == 1.0 for position in range(3))


def test_each_frame_is_read_once(segmenter, tmp_path):
    pictures = Square(6)
    prompts = (Prompt("one", clicks=(Click(2, 40, 30),)), Prompt("two", clicks=(Click(2, 60, 50),)))
    segmenter.segment(pictures, prompts, MatteStore(tmp_path, (HEIGHT, WIDTH)), quiet)
    # The first prompted frame once more, on the way back.
    assert sorted(pictures.asked) == [0, 1, 2, 2, 3, 4, 5]


def _held() -> tuple[int, int]:
    """Tensors alive, and their bytes."""
    found = {id(each): each for each in gc.get_objects() if type(each) is torch.Tensor}
    stores = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in found.values()}
    return len(found), sum(stores.values())


@pytest.mark.slow
def test_memory_is_flat_on_a_long_clip(segmenter, tmp_path):
    count = 300 if "transformers" in segmenter.version else 150  # the same code prunes; each frame takes its time
    seen: dict[int, tuple[int, int]] = {}

    def tick(done: int, of: int, what: str) -> None:
        if done in (60, count // 2, count - 21, count - 1):  # the last: 19 frames on the way back
            gc.collect()
            seen[done] = _held()

    class Sparse(MatteStore):
        """Not what is measured: writing."""

        def write(self, name: str, position: int, matte: np.ndarray, confidence: float = 1.0) -> None:
            assert matte.shape == (HEIGHT, WIDTH)

    # Prompts on many frames, of which only the nearest are attended to.
    clicks = (Click(20, 40, 30), *(Click(position, 40, 30) for position in range(30, count, 30)))
    boxes = tuple(Box(position, 10, 10, 50, 50) for position in range(45, count, 30))
    prompt = Prompt("square", clicks=clicks, boxes=boxes)
    segmenter.segment(Square(count), (prompt,), Sparse(tmp_path, (HEIGHT, WIDTH)), tick)
    tensors, sizes = zip(*seen.values(), strict=True)
    assert max(tensors) - min(tensors) <= 12, seen
    assert max(sizes) - min(sizes) <= 0.02 * min(sizes), seen


def test_the_nearest_prompts():
    assert nearest({5}, 0, 4) == {5}
    assert nearest({0, 100, 101, 102, 103}, 90, 4) == {0, 100, 101, 102}
    assert nearest({0, 10, 20, 30, 40, 50}, 30, 4) == {20, 30, 40, 10}


def test_the_version_tells_weights_and_backend(segmenter, folder):
    other = Sam2Segmenter(folder, backend="meta" if "transformers" in segmenter.version else "transformers")
    assert segmenter.version != other.version
    assert segmenter.version.split("-")[2] == other.version.split("-")[2]


# Errors


def test_no_weights_says_what_to_run(tmp_path):
    with pytest.raises(EngineUnavailable) as told:
        find_sam2(None)
    assert "void models fetch sam2" in told.value.hint
    with pytest.raises(EngineUnavailable, match=r"config\.json") as told:
        find_sam2(tmp_path)
    assert f"void models fetch sam2 --models {tmp_path}" in told.value.hint
    with pytest.raises(EngineUnavailable, match=r"model\.safetensors"):
        Sam2Segmenter(tmp_path)


def test_the_models_folder_is_as_fetch_lays_it(folder):
    assert find_sam2(folder.parent) == folder
    assert {folder.parent / SAM2.place(file.name) for file in SAM2.files} == set(folder.iterdir())


def test_a_missing_package_is_named(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("sam2", "iopath") else object())
    with pytest.raises(EngineUnavailable, match="sam2 and iopath") as told:
        Sam2Segmenter(folder, backend="meta")
    assert "--no-deps sam2==1.1.0" in told.value.hint


def test_an_unknown_backend_and_empty_prompts(segmenter, folder, tmp_path):
    with pytest.raises(JobError, match="onnx"):
        Sam2Segmenter(folder, backend="onnx")
    with pytest.raises(JobError, match="no click"):
        run(segmenter, tmp_path, 3, Prompt("x", clicks=(Click(0, 3, 3, False),)))


@pytest.mark.parametrize("backend", ["transformers", "meta"])
@pytest.mark.parametrize(
    ("change", "word"),
    [("lack", "lack"), ("more", "does not know"), ("shape", "configuration says"), ("cut", "cannot be read"),
     ("kind", "of type 'bert'"), ("config", "cannot be read")],
)  # fmt: skip
def test_wrong_files_are_refused_by_name(folder, tmp_path, backend, change, word):
    from safetensors.torch import load_file, save_file

    text = (folder / "config.json").read_text()
    state = load_file(folder / "model.safetensors")
    if change == "lack":
        del state["no_object_pointer"]
    elif change == "more":
        state["vision_encoder.extra"] = torch.zeros(1)
    elif change == "shape":
        state["no_object_pointer"] = torch.zeros(1, 5)
    save_file(state, tmp_path / "model.safetensors")
    if change == "cut":
        whole = (tmp_path / "model.safetensors").read_bytes()
        (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    kinds = {"kind": text.replace('"sam2_video"', '"bert"'), "config": "{"}
    (tmp_path / "config.json").write_text(kinds.get(change, text))
    with pytest.raises(ModelError, match=word) as told:
        run(Sam2Segmenter(tmp_path, backend=backend), tmp_path / "out", 2, Prompt("x", clicks=(Click(0, 3, 3),)))
    assert "void models fetch sam2" in told.value.hint


def test_importing_loads_no_torch():
    code = "import void_engine.segmentation.sam2, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
