"""Grounding DINO: our own processing against the published one, and what is refused. Weights are tiny and random."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from helpers.tiny_detector import tiny_tokenizer, write_tiny_detector
from safetensors.torch import load_file, save_file
from transformers import GroundingDinoForObjectDetection, PreTrainedTokenizerFast
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoObjectDetectionOutput
from transformers.models.grounding_dino.processing_grounding_dino import GroundingDinoProcessor
from void_client.errors import EngineUnavailable, JobError, ModelError

from void_engine.detection import Detection
from void_engine.detection.grounding_dino import GroundingDino, Options
from void_engine.detection.grounding_dino_hf import Caption, captions, detections, model_size, to_model
from void_engine.models.detector_folder import find_detector

SMALL = Options(short_side=64, long_side=128)
WORDS = ("The shadow of the man", "a ball", "boxs")
ONE_CODE = 1 / 255 / 0.225  # of eight bits, after the normalisation


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_detector(tmp_path_factory.mktemp("models"))


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def processor(options: Options = SMALL) -> GroundingDinoProcessor:
    """The published one; its tokenizer is the same file's, by the library's own class."""
    size = {"shortest_edge": options.short_side, "longest_edge": options.long_side}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer())
    return GroundingDinoProcessor(GroundingDinoImageProcessorPil(size=size), tokenizer)


def picture(height: int, width: int) -> np.ndarray:
    """Fine detail and noise, in eight bits: a resize that skips pixels is far off on it."""
    noise = np.random.default_rng(7).integers(0, 60, (height, width, 3))
    y, x = np.mgrid[:height, :width]
    stripes = 90 * ((x // 3 + y // 5) % 2)[..., None]
    return np.asarray(noise + stripes + np.arange(3) * 40, np.uint8)


def floats(codes: np.ndarray) -> np.ndarray:
    return codes.astype(np.float32) / np.float32(255)


# --- pictures


def test_the_size_follows_the_published_rule():
    sizes = [(1080, 1920), (1920, 1080), (2160, 4096), (800, 1000), (1000, 800), (600, 601), (90, 1600), (817, 1361)]
    sizes += [tuple(np.random.default_rng(seed).integers(60, 3000, 2).tolist()) for seed in range(300)]
    for size in sizes:
        assert model_size(size, Options()) == get_size_with_aspect_ratio(size, 800, 1333), size


@pytest.mark.parametrize(
    ("size", "options"), [((300, 410), SMALL), ((40, 50), SMALL), ((500, 150), SMALL), ((270, 480), Options())]
)
def test_the_pixels_are_those_of_the_published_processor(size, options):
    """Pillow rounds to eight bits after each direction, we do not: one code at most, and hardly any on the average."""
    codes = picture(*size)
    published = processor(options).image_processor(codes, return_tensors="pt")["pixel_values"]
    ours = to_model(floats(codes), options)
    assert ours.shape == published.shape
    away = (ours - published).abs()
    assert away.max() < 1.02 * ONE_CODE
    assert away.mean() < 0.35 * ONE_CODE
    if min(size) > options.short_side:  # the tolerance would not pass a plain bilinear resize
        plain = functional.interpolate(
            torch.tensor(floats(codes)).permute(2, 0, 1)[None], ours.shape[-2:], mode="bilinear"
        )
        assert ((plain[:, 1] - 0.456) / 0.224 - published[:, 1]).abs().max() > 10 * ONE_CODE


# --- words


def test_a_caption_is_the_published_one():
    (caption,) = captions(tiny_tokenizer(), WORDS, 64)
    assert list(caption.ids) == processor()(text=[list(WORDS)])["input_ids"][0]
    said = [[i for i, word in zip(caption.ids, caption.word_of, strict=True) if word == n] for n in range(3)]
    assert said == [tiny_tokenizer().encode(word, add_special_tokens=False).ids for word in WORDS]


def test_no_word_can_break_the_caption():
    """A reasoner's nouns are anything: marks that part phrases, special tokens, nothing at all, far too much."""
    words = ("The shadow. Of the man?", "[SEP] a ball [CLS]", " . ? ", "", "red " * 500)
    made = list(captions(tiny_tokenizer(), words, 32))
    assert all(len(each.ids) == len(each.word_of) <= 32 for each in made)
    assert all(each.ids[0] == 101 and each.ids[-1] == 102 and each.ids[-2] == 1012 for each in made)
    assert all({101, 102} & set(each.ids[1:-1]) == set() for each in made)
    assert [sorted(set(each.word_of)) for each in made] == [[-1, 0, 1], [-1, 4]]
    assert made[0].ids.count(1012) == 2
    assert list(captions(tiny_tokenizer(), (" . ",), 32)) == []


# --- answers


def test_boxes_scores_and_words_are_those_of_the_published_processor():
    generator = torch.Generator().manual_seed(3)
    (caption,) = captions(tiny_tokenizer(), WORDS, 64)
    logits = torch.randn((1, 200, 64), generator=generator) * 1.5 - 3.5
    logits[..., len(caption.ids) :] = -torch.inf  # as the model pads
    boxes = torch.rand((1, 200, 4), generator=generator) * 0.3 + 0.3
    published = processor().post_process_grounded_object_detection(
        GroundingDinoObjectDetectionOutput(logits=logits, pred_boxes=boxes),
        torch.tensor([caption.ids]), threshold=0.35, text_threshold=0.25, target_sizes=[(90, 160)],
    )[0]  # fmt: skip
    ours = detections(logits[0], boxes[0], caption, WORDS, (90, 160), Options())
    tokenizer, lit = tiny_tokenizer(), []
    for row, label in enumerate(published["text_labels"]):
        tokens = {tokenizer.token_to_id(token) for token in label.split()} - {102, 1012}  # it counts those as well
        if tokens:
            lit.append((row, tokens))
    assert 20 < len(lit) < 200 == len(logits[0])
    assert len(ours) == len(lit)
    for each, (row, tokens) in zip(ours, lit, strict=True):
        assert each.score == pytest.approx(float(published["scores"][row]), abs=1e-6)
        assert (each.x0, each.y0, each.x1, each.y1) == pytest.approx(published["boxes"][row].tolist(), abs=1e-3)
        assert tokens & set(tokenizer.encode(each.word, add_special_tokens=False).ids)
    assert {each.word for each in ours} == set(WORDS)


def test_a_box_answers_its_likeliest_word_and_stays_in_the_picture():
    caption = Caption((101, 1033, 1012, 1034, 1012, 102), (-1, 0, -1, 1, -1, -1))
    logits = torch.full((4, 8), -9.0)
    logits[0, 1], logits[0, 3] = 0.5, 2.0  # both words: the second one more
    logits[1, 2] = 3.0  # a full stop only: no word's
    logits[2, 1] = -0.7  # 0.33: not sure enough
    logits[3, 1] = 1.0
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.5] * 4, [0.5] * 4, [0.0, 0.9, 0.5, 0.4]])
    found = detections(logits, boxes, caption, ("ball", "box"), (100, 200), Options())
    assert [(each.word, round(each.score, 3)) for each in found] == [("box", 0.881), ("ball", 0.731)]
    first, last = found
    assert (first.x0, first.y0, first.x1, first.y1) == pytest.approx((80, 30, 120, 70), abs=1e-3)
    assert (last.x0, last.y0, last.x1, last.y1) == pytest.approx((0, 70, 50, 100), abs=1e-3)


# --- the whole


def test_the_whole_way_gives_what_the_published_way_gives(folder):
    codes = picture(64, 113)  # of the model's own size: a resize's rounding makes these weights choose other boxes
    asked = processor()(images=codes, text=[list(WORDS)], return_tensors="pt")
    model = GroundingDinoForObjectDetection.from_pretrained(folder, local_files_only=True).eval()
    with torch.inference_mode():
        out = model(**{key: asked[key] for key in ("pixel_values", "pixel_mask", "input_ids", "attention_mask")})
    published = processor().post_process_grounded_object_detection(
        out, asked["input_ids"], threshold=0.35, text_threshold=0.25, target_sizes=[(64, 113)]
    )[0]
    ours = GroundingDino(folder, device="cpu", options=SMALL).detect(floats(codes), WORDS)
    assert len(ours) == len(published["scores"]) > 5
    assert [each.score for each in ours] == pytest.approx(sorted(published["scores"].tolist(), reverse=True), abs=1e-4)
    theirs = published["boxes"].numpy().clip(0, [113, 64, 113, 64])
    for each in ours:
        away = np.abs(theirs - [each.x0, each.y0, each.x1, each.y1]).max(1)
        assert away.min() < 0.01
        assert each.score == pytest.approx(float(published["scores"][int(away.argmin())]), abs=1e-4)


def test_the_same_answer_every_time_and_another_for_other_pictures_and_words(folder):
    detector, other = (GroundingDino(folder, device="cpu", options=SMALL) for _ in range(2))
    codes = floats(picture(90, 160))
    first = detector.detect(codes, ("the ball",))
    assert first == detector.detect(codes, ("the ball",)) == other.detect(codes, ("the ball",))
    assert first != detector.detect(codes[::-1], ("the ball",))
    assert [replace_word(each) for each in first] != [replace_word(e) for e in detector.detect(codes, ("the box",))]
    assert detector.detect(codes, ()) == []


def replace_word(each: Detection) -> tuple[float, ...]:
    return each.x0, each.y0, each.x1, each.y1, each.score


def test_too_many_words_for_one_caption_are_asked_in_turns(tmp_path):
    detector = GroundingDino(write_tiny_detector(tmp_path, longest=8), device="cpu", options=SMALL)
    found = detector.detect(floats(picture(90, 160)), ("the red ball", "a box", "the man on the floor"))
    assert {each.word for each in found} == {"the red ball", "a box", "the man on the floor"}
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_the_version_is_of_weights_and_options(folder, copied):
    tensors = load_file(copied / "model.safetensors")
    tensors["bbox_embed.0.layers.2.bias"] += 1.0
    save_file(tensors, copied / "model.safetensors")
    versions = {GroundingDino(folder).version, GroundingDino(folder, options=SMALL).version}
    versions |= {GroundingDino(copied).version, GroundingDino(folder, options=Options(text_threshold=0.3)).version}
    assert len(versions) == 4
    assert GroundingDino(folder).version in versions


# --- what is refused


def spoil_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.enc_output.weight"]
    save_file(tensors, folder / "model.safetensors")


def add_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "model.extra": torch.zeros(2)}, folder / "model.safetensors")


def reshape_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "model.enc_output.weight": torch.zeros(3, 3)}, folder / "model.safetensors")


def cut_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def other_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def other_tokenizer(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('".": 1012', '".": 1013').replace('"[unused1013]"', '"!"'))


def damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_tensor, "lack model.enc_output.weight"),
        (add_tensor, "unknown model.extra"),
        (reshape_tensor, "cannot be read"),
        (cut_weights, "cannot be read"),
        (other_model, "'bert'"),
        (no_json, "cannot be read"),
        (other_tokenizer, "other numbers"),
        (damaged_tokenizer, "cannot be read"),
    ],
)
def test_files_that_are_not_the_model_are_refused_by_name(copied, spoil, message):
    spoil(copied)
    with pytest.raises(ModelError, match=message) as caught:
        GroundingDino(copied, device="cpu", options=SMALL).detect(floats(picture(90, 160)), ("ball",))
    assert str(copied) in caught.value.details["file"]
    assert "void models fetch grounding-dino" in caught.value.hint


def test_only_safetensors_count(copied):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(EngineUnavailable, match=r"model\.safetensors is not there"):
        find_detector_in(copied)


def find_detector_in(folder: Path) -> Path:
    folder.rename(folder.parent / "grounding-dino-tiny")
    return find_detector(folder.parent)


def test_without_weights_it_says_how_to_get_them(tmp_path):
    for root in (None, tmp_path):
        with pytest.raises(EngineUnavailable) as caught:
            find_detector(root)
        assert "void models fetch grounding-dino" in caught.value.hint


@pytest.mark.parametrize("values", [{"box_threshold": 0.0}, {"text_threshold": 1.5}, {"short_side": 2000}])
def test_options_that_cannot_be_meant(values):
    with pytest.raises(JobError):
        Options(**values)


def test_it_is_light_until_it_is_asked():
    code = (
        "import void_engine.masking, void_engine.detection.grounding_dino, sys;"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
