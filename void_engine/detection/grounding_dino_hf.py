"""Grounding DINO as `transformers` has it, without its processors: the fast one needs torchvision.

Promises: the published preprocessing and thresholds; only safetensors, and every tensor in its place; a box's word is
one of those that were asked, not whatever tokens lit up. Must not: use the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from tokenizers import Tokenizer
from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection
from transformers.utils import logging as transformers_logging
from void_client.errors import ModelError

from void_engine.detection.grounding_dino import Options
from void_engine.detection.interface import Detection, Picture
from void_engine.models.detector_folder import CONFIG, TOKENIZER, WEIGHTS

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_PAD, _CLS, _SEP, _DOT, _QUESTION = (
    0,
    101,
    102,
    1012,
    1029,
)  # BERT's; the model's own code has all but the first
_SPECIAL = frozenset((_PAD, _CLS, _SEP, _DOT, _QUESTION))


@dataclass(frozen=True)
class Caption:
    """Some of the words as one text: "a ball. the shadow.". ``word_of``: each token's word by its index, or -1."""

    ids: tuple[int, ...]
    word_of: tuple[int, ...]


class Model:
    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises ``ModelError``."""
        self._tokenizer = load_tokenizer(folder)
        self._model = _load(folder).to(device)
        self._device = device

    def detect(self, picture: Picture, words: tuple[str, ...], options: Options) -> list[Detection]:
        pixels = to_model(picture, options).to(self._device)
        found: list[Detection] = []
        for caption in captions(self._tokenizer, words, self._model.config.max_text_len):
            logits, boxes = self._ask(pixels, caption)
            found += detections(logits, boxes, caption, words, picture.shape[:2], options)
        return sorted(found, key=lambda each: -each.score)

    @torch.inference_mode()
    def _ask(self, pixels: torch.Tensor, caption: Caption) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.tensor([caption.ids], device=self._device)
        out = self._model(
            pixel_values=pixels,
            input_ids=ids,
            token_type_ids=torch.zeros_like(ids),
            attention_mask=torch.ones_like(ids),
        )
        return out.logits[0].float().cpu(), out.pred_boxes[0].float().cpu()


# --- pictures


def model_size(size: tuple[int, int], options: Options) -> tuple[int, int]:
    """(height, width) for the model, by the published rule and its roundings."""
    height, width = size
    short, raw = options.short_side, float(options.short_side)
    if max(size) / min(size) * short > options.long_side:
        raw = options.long_side * min(size) / max(size)
        short = round(raw)
    if min(size) == short:
        return size
    # The long side follows the short one before that is rounded.
    long = int(raw * max(size) / min(size))
    return (long, max(1, short)) if width < height else (max(1, short), long)


def to_model(picture: Picture, options: Options) -> torch.Tensor:
    """(1, 3, h, w) float32, normalised; antialiased, as Pillow resizes."""
    values = torch.tensor(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]
    size = model_size((picture.shape[0], picture.shape[1]), options)
    resized = functional.interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
    mean, deviation = (torch.tensor(each)[None, :, None, None] for each in (MEAN, DEVIATION))
    return (resized - mean) / deviation


# --- words


def captions(tokenizer: Tokenizer, words: tuple[str, ...], longest: int) -> Iterator[Caption]:
    """As many as it takes for none to exceed ``longest`` tokens. A word of which no token is left is not asked."""
    ids, word_of = [_CLS], [-1]
    for index, word in enumerate(words):
        # Full stops and question marks part phrases; a word's own would cut it in two.
        text = " ".join(word.lower().replace(".", " ").replace("?", " ").split())
        tokens = [token for token in tokenizer.encode(text, add_special_tokens=False).ids if token not in _SPECIAL]
        tokens = tokens[: longest - 3]
        if not tokens:
            continue
        if len(ids) + len(tokens) + 2 > longest:
            yield Caption((*ids, _SEP), (*word_of, -1))
            ids, word_of = [_CLS], [-1]
        ids += [*tokens, _DOT]
        word_of += [*[index] * len(tokens), -1]
    if len(ids) > 1:
        yield Caption((*ids, _SEP), (*word_of, -1))


# --- answers


def detections(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    caption: Caption,
    words: tuple[str, ...],
    size: tuple[int, int],
    options: Options,
) -> list[Detection]:
    """``logits`` (Q, L) for each query and token, ``boxes`` (Q, 4) as shares: middle x, middle y, width, height.

    A box's score is its likeliest token's, as published. Its word is the likeliest one, where that is likely enough.
    """
    likely = torch.sigmoid(logits)[:, : len(caption.word_of)]
    scores = torch.sigmoid(logits).amax(1)
    word_of = torch.tensor(caption.word_of)
    height, width = size
    found = []
    for query in torch.nonzero(scores > options.box_threshold)[:, 0].tolist():
        own = torch.where(word_of >= 0, likely[query], 0.0)
        if float(own.max()) <= options.text_threshold:
            continue
        x, y, wide, high = boxes[query].tolist()
        x0, x1 = (min(max(share, 0.0), 1.0) * width for share in (x - wide / 2, x + wide / 2))
        y0, y1 = (min(max(share, 0.0), 1.0) * height for share in (y - high / 2, y + high / 2))
        if x0 < x1 and y0 < y1:
            word = words[caption.word_of[int(own.argmax())]]
            found.append(Detection(word, x0, y0, x1, y1, float(scores[query])))
    return found


# --- files


def load_tokenizer(folder: Path) -> Tokenizer:
    """Raises ``ModelError``."""
    path = folder / TOKENIZER
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as problem:  # the library raises a bare Exception for whatever is wrong
        raise _bad(path, f"The tokenizer {path} cannot be read: {problem}.") from problem
    if [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", ".", "?")] != [_CLS, _SEP, _DOT, _QUESTION]:
        raise _bad(path, f"{path} is not the tokenizer of Grounding DINO: its special tokens have other numbers.")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _load(folder: Path) -> Any:
    """Through the library's own loader, which knows the names that the published file had before it renamed them; but
    every tensor must have its place. Raises ``ModelError``."""
    path = folder / WEIGHTS
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would write to the log
    try:
        kind = GroundingDinoConfig.get_config_dict(folder, local_files_only=True)[0].get("model_type")
    except Exception as problem:  # whatever a bad value in the file led the library to
        raise _bad(folder / CONFIG, f"The configuration {folder / CONFIG} cannot be read: {problem}.") from problem
    if kind != GroundingDinoConfig.model_type:
        raise _bad(folder / CONFIG, f"{folder / CONFIG} describes a model of type {kind!r}, not Grounding DINO.")
    try:
        loader: Any = GroundingDinoForObjectDetection  # its annotation knows nothing of the loading's report
        model, told = loader.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as problem:  # as above
        raise _bad(path, f"The weights {path} cannot be read: {problem}.") from problem
    for fault, tensors in (("lack", told["missing_keys"]), ("have an unknown", told["unexpected_keys"])):
        for name in sorted(tensors):
            raise _bad(path, f"The weights {path} {fault} {name}.", name)
    return model.eval().requires_grad_(False)


def _bad(path: Path, message: str, key: str = "") -> ModelError:
    return ModelError(
        message,
        hint="It belongs to another model, or was not fetched to its end: run `void models verify`, then "
        "`void models fetch grounding-dino`.",
        details={"file": str(path), **({"key": key} if key else {})},
    )
