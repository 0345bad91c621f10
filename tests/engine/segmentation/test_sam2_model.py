"""SAM 2.1's two implementations against each other and against their own published ways, and our own processing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.tiny_sam2 import SIZE, write_tiny_sam2
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Sam2VideoInferenceSession
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from void_engine.segmentation import sam2_pictures
from void_engine.segmentation.interface import Box, Click, Prompt
from void_engine.segmentation.sam2_hf import TransformersModel
from void_engine.segmentation.sam2_meta import MetaModel
from void_engine.segmentation.sam2_pictures import Answer, Frames, confidence, matte_of, said, to_model

PLATE = (90, 160)
CPU = torch.device("cpu")


class Moving:
    def __len__(self) -> int:
        return 8

    @property
    def size(self) -> tuple[int, int]:
        return PLATE

    def rgb(self, position: int) -> np.ndarray:
        picture = np.random.default_rng(5).integers(0, 255, (*PLATE, 3), np.uint8)
        picture[20:50, 20 + 4 * position : 60 + 4 * position] = (200, 30, 40)
        return picture

    def proxy(self, position: int, long_side: int) -> np.ndarray:
        raise AssertionError


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam2(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def models(folder: Path) -> tuple[TransformersModel, MetaModel]:
    return TransformersModel(folder, CPU), MetaModel(folder, CPU)


CLICKS = Prompt("x", clicks=(Click(0, 30, 30), Click(0, 5, 5, False), Click(5, 70, 30, False)))


def _difference(one: list[Answer], other: list[Answer]) -> float:
    assert len(one) == len(other)
    assert all(abs(a.score - b.score) < 1e-4 for a, b in zip(one, other, strict=True))
    return max(float(np.abs(a.logits - b.logits).max()) for a, b in zip(one, other, strict=True))


def _forwards(model, prompt: Prompt, correct: int = -1) -> list[Answer]:
    frames = Frames(Moving(), model.size, CPU)
    tracker = model.trackers(frames, 1, backwards=False)[0]
    answers = [tracker.condition(0, said(prompt, 0, PLATE, SIZE))]
    for position in range(1, len(frames)):
        if position == correct:
            answers.append(tracker.correct(position, said(prompt, position, PLATE, SIZE)))
        else:
            answers.append(tracker.track(position))
    return answers


def test_the_backends_agree_forwards(models):
    one, other = (_forwards(model, CLICKS) for model in models)
    assert max(np.abs(answer.logits).max() for answer in one) > 1
    assert _difference(one, other) < 1e-4


def test_the_backends_agree_after_a_correction(models):
    one, other = (_forwards(model, CLICKS, correct=5) for model in models)
    assert _difference(one, other) < 1e-4
    plain = _forwards(models[0], CLICKS)
    assert np.abs(one[4].logits - plain[4].logits).max() == 0
    assert np.abs(one[7].logits - plain[7].logits).max() > 1e-3  # it is remembered


def test_the_backends_agree_backwards_from_a_matte_and_a_box(models):
    matte = np.zeros(PLATE, np.float32)
    matte[20:50, 50:90] = 1.0
    prompt = Prompt("x", boxes=(Box(7, 48, 20, 88, 50),), mattes={5: matte})
    found = []
    for model in models:
        tracker = model.trackers(Frames(Moving(), model.size, CPU), 1, backwards=True)[0]
        conditions = [tracker.condition(position, said(prompt, position, PLATE, SIZE)) for position in (5, 7)]
        found.append([*conditions, *(tracker.track(position) for position in (4, 3, 2, 1, 0))])
    assert _difference(*found) < 1e-4


def test_transformers_is_driven_as_published(models):
    """All frames in the session at once, nothing pruned: `propagate_in_video_iterator`."""
    model = models[0]
    frames = Frames(Moving(), SIZE, CPU)
    video = torch.stack([frames[position] for position in range(len(frames))])
    session = Sam2VideoInferenceSession(video, *PLATE, dtype=torch.float32)
    first = said(CLICKS, 0, PLATE, SIZE)
    points = {"point_coords": first.coordinates[None], "point_labels": first.labels[None]}
    session.add_point_inputs(session.obj_id_to_idx(1), 0, points)
    session.obj_with_new_inputs = [1]
    published = [
        Answer(out.pred_masks[0, 0].numpy(), float(out.object_score_logits[0]))
        for out in model._model.propagate_in_video_iterator(session, start_frame_idx=0)
    ]
    assert _difference(_forwards(model, CLICKS), published) < 1e-6


def test_meta_is_driven_as_published(models):
    """`add_new_points_or_box`, then `propagate_in_video`, on a state as `init_state` makes it of a folder."""
    model = models[1]
    frames = Frames(Moving(), SIZE, CPU)
    state = {
        "images": torch.stack([frames[position] for position in range(len(frames))]), "num_frames": len(frames),
        "video_height": SIZE // 4, "video_width": SIZE // 4, "device": CPU, "storage_device": CPU,
        "cached_features": {}, "constants": {}, "obj_id_to_idx": {}, "obj_idx_to_id": {}, "obj_ids": [],
        "point_inputs_per_obj": {}, "mask_inputs_per_obj": {}, "output_dict_per_obj": {},
        "temp_output_dict_per_obj": {}, "frames_tracked_per_obj": {},
    }  # fmt: skip
    first = said(CLICKS, 0, PLATE, SIZE)
    model._model.add_new_points_or_box(
        state, 0, 1, points=first.coordinates[0] / SIZE, labels=first.labels[0].int(), normalize_coords=False
    )
    published = [masks[0, 0].numpy() for _, _, masks in model._model.propagate_in_video(state)]
    ours = _forwards(model, CLICKS)
    assert max(float(np.abs(a.logits - b).max()) for a, b in zip(ours, published, strict=True)) < 1e-5


def test_a_file_with_one_of_the_twin_matrices_loads(folder, models, tmp_path):
    state = load_file(folder / "model.safetensors")
    del state["prompt_encoder.shared_embedding.positional_embedding"]
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    other = TransformersModel(tmp_path, CPU)
    assert _difference(_forwards(models[0], CLICKS)[:2], _forwards(other, CLICKS)[:2]) == 0


# Our own pre-processing


def test_pictures_are_made_as_published():
    assert list(sam2_pictures.MEAN) == IMAGENET_DEFAULT_MEAN
    assert list(sam2_pictures.DEVIATION) == IMAGENET_DEFAULT_STD
    noise = np.random.default_rng(3).integers(0, 255, (216, 384, 3), np.uint8)
    for picture in (noise, cv2.GaussianBlur(noise, (9, 9), 3)[:50, :70]):
        codes = np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
        expected = (codes / 255 - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD
        values = to_model(picture, SIZE)
        assert values.shape == (3, SIZE, SIZE)
        assert values.dtype == torch.float32
        # Pillow rounds to codes, after each of its two passes.
        assert np.abs(values.permute(1, 2, 0).numpy() - expected).max() < 1.6 / 255 / 0.224


def test_one_click_makes_one_point_and_no_box():
    found = said(Prompt("x", clicks=(Click(2, 40.5, 45.5), Click(3, 1, 1))), 2, PLATE, SIZE)
    assert found.mask is None
    assert found.labels.tolist() == [[1]]
    # The middle of the plate's pixel (40, 45) of 160 x 90, in pixels whose centres lie at whole numbers.
    assert np.allclose(found.coordinates, [[[40.5 * SIZE / 160 - 0.5, 45.5 * SIZE / 90 - 0.5]]])


def test_boxes_come_first_together_and_inside_the_plate():
    prompt = Prompt("x", clicks=(Click(0, 80, 45, False),), boxes=(Box(0, -5, 10, 40, 45), Box(0, 20, 20, 500, 60)))
    found = said(prompt, 0, PLATE, SIZE)
    assert found.labels.tolist() == [[2, 3, 0]]
    assert np.allclose(found.coordinates[0, :2], [[0, 10 * SIZE / 90], [SIZE - 1, 60 * SIZE / 90 - 1]])
    thin = said(Prompt("x", boxes=(Box(0, 10, 10, 10.2, 10.2),)), 0, PLATE, SIZE).coordinates[0]
    assert (thin[1] >= thin[0]).all()


def test_a_thing_smaller_than_the_models_pixel_does_not_vanish():
    matte = np.zeros((900, 1600), np.float32)
    matte[450, 800] = 1.0
    mask = said(Prompt("x", mattes={0: matte}), 0, (900, 1600), SIZE).mask
    assert mask is not None
    assert 1 <= int(mask.sum()) <= 4
    empty = said(Prompt("x", mattes={0: matte * 0}), 0, (900, 1600), SIZE).mask
    assert empty is not None
    assert not empty.any()


# Our own post-processing


def test_the_matte_finds_the_plates_edge():
    height, width = 540, 960
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    truth = np.clip(150.5 - np.hypot(columns - 500, rows - 270), 0, 1)
    ground = cv2.GaussianBlur(np.random.default_rng(1).integers(20, 90, (height, width, 3), np.uint8), (0, 0), 2)
    picture = (ground * (1 - truth[..., None]) + np.float32([210, 180, 60]) * truth[..., None]).astype(np.uint8)
    # What the model would say of it, on a grid four times coarser than its own square.
    small = cv2.resize(truth, (256, 256), interpolation=cv2.INTER_AREA)
    logits = np.clip(np.log((small + 1e-4) / (1 - small + 1e-4)), -10, 10).astype(np.float32)
    answer = Answer(logits, 8.0)
    matte = matte_of(answer, picture)
    assert matte.shape == (height, width)
    assert matte.dtype == np.float32
    plain = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    assert np.abs(matte - truth).mean() < 0.5 * np.abs(plain - truth).mean()
    solid, true = matte > 0.5, truth > 0.5
    assert (solid & true).sum() / (solid | true).sum() > 0.99
    assert set(np.unique(matte[:100])) == {0.0}
    assert matte[270, 500] == 1.0
    assert confidence(answer) > 0.9


def test_what_is_not_seen_is_empty_and_unsure():
    answer = Answer(np.full((32, 32), -1024.0, np.float32), -4.0)
    assert not matte_of(answer, np.zeros((90, 160, 3), np.uint8)).any()
    assert confidence(answer) < 0.02
    vague = Answer(np.linspace(-2, 2, 1024, dtype=np.float32).reshape(32, 32), 4.0)
    assert confidence(vague) == pytest.approx(0.982 / 3, abs=0.01)
