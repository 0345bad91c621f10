"""A tiny random Grounding DINO in the real files' layout, its tokenizer included, and a detector that says what it is
told to. The former proves what is computed, not that anything is recognised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

from void_engine.detection import Detection
from void_engine.models.catalogue import GROUNDING_DINO

WORDS = ("a", "the", "of", "ball", "box", "shadow", "man", "##s", "red", "on", "floor")
_SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}  # BERT's places
_FIRST = 1030  # the first word's: the model's own code knows the numbers of its special tokens
_SIZE = _FIRST + len(WORDS)


def tiny_config(longest: int = 64) -> GroundingDinoConfig:
    return GroundingDinoConfig(
        backbone_config={
            "model_type": "swin", "image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2],
            "window_size": 4, "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "vocab_size": _SIZE,
        },
        num_queries=30, encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2, decoder_layers=2,
        decoder_ffn_dim=16, decoder_attention_heads=2, d_model=32, max_text_len=longest,
    )  # fmt: skip


def tiny_tokenizer() -> Tokenizer:
    """Word pieces as BERT's uncased ones, of eleven words."""
    vocabulary = {f"[unused{place}]": place for place in range(_FIRST) if place not in _SPECIAL}
    vocabulary |= {word: place for place, word in _SPECIAL.items()}
    vocabulary |= {word: place for place, word in enumerate(WORDS, _FIRST)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tokenizer


def write_tiny_detector(root: Path, longest: int = 64) -> Path:
    """Into a models' folder; the same weights every time. Returns the model's own folder."""
    folder = root / GROUNDING_DINO.folder
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GroundingDinoForObjectDetection(tiny_config(longest))
        for parameter in model.parameters():  # fresh heads give one box and one score to all
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.config.save_pretrained(folder)
    save_file(published(model.state_dict()), folder / "model.safetensors")
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def published(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As transformers 4 saved it, and the published file is: other names for the backbone, which had no last norm;
    shared heads once; the windows' indices, which are no weights."""
    left_out = ("model.decoder.bbox_embed", "bbox_embed.1", "model.backbone.conv_encoder.model.swin.layernorm")
    made = {
        name.replace("conv_encoder.model.swin.", "conv_encoder.model."): tensor.clone()
        for name, tensor in state.items()
        if not name.startswith(left_out)
    }
    index = "model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.attention.self.relative_position_index"
    return {**made, index: torch.zeros(16, 16, dtype=torch.int64)}


class TellingDetector:
    """`void_engine.detection.Detector`: for each word the boxes that it was given, whatever the picture."""

    name = "telling"

    def __init__(self, boxes: Mapping[str, Sequence[tuple[float, float, float, float, float]]], version: str = "1"):
        self.boxes, self.version = boxes, version
        self.asked: list[tuple[str, ...]] = []
        self.pictures: list[np.ndarray] = []

    def detect(self, picture: np.ndarray, words: tuple[str, ...]) -> list[Detection]:
        self.asked.append(words)
        self.pictures.append(picture)
        found = [Detection(word, *box) for word in words for box in self.boxes.get(word, ())]
        return sorted(found, key=lambda each: -each.score)
