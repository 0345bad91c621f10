"""Small models of the right layout, with the catalogue that fits them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from void_engine.models.catalogue import Licence, Model, ModelFile

FREE = Licence("Free", "https://example.org/free", "Do what you like.", must_accept=False)
STRICT = Licence("Strict", "https://example.org/strict", "Ask first.", must_accept=True)
BASE_REVISION, VOID_REVISION = "b" * 40, "a" * 40
REPOSITORY, BASE_REPOSITORY = "studio/void", "studio/base"


def weights(seed: int, size: int = 1000) -> bytes:
    return save({"patch_embed.proj.weight": np.random.default_rng(seed).standard_normal((size, 2)).astype(np.float32)})


def base_files() -> dict[str, bytes]:
    shards = {"first": "model-00001-of-00002.safetensors", "second": "model-00002-of-00002.safetensors"}
    return {
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/spiece.model": b"\x0a\x07<unk>",
        "tokenizer/tokenizer_config.json": b"{}",
        "text_encoder/config.json": b"{}",
        "text_encoder/model.safetensors.index.json": json.dumps({"weight_map": shards}).encode(),
        "text_encoder/model-00001-of-00002.safetensors": weights(1),
        "text_encoder/model-00002-of-00002.safetensors": weights(2),
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": weights(3),
        "transformer/config.json": b"{}",
        "transformer/diffusion_pytorch_model.safetensors": weights(4),
        "model_index.json": b'{"_class_name": "CogVideoXFunInpaintPipeline"}',
    }


def pass_files() -> dict[str, bytes]:
    return {"void_pass1.safetensors": weights(5), "void_pass2.safetensors": weights(6)}


def write_models(root: Path, base: str = "hand-made") -> Path:
    for name, data in {**pass_files(), **{f"{base}/{name}": data for name, data in base_files().items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def entry(name: str, samples: dict[str, bytes], /, **values: object) -> Model:
    """A catalogue's entry for these files; nothing is pinned but by what ``values`` say."""
    defaults = {
        "purpose": "tests", "repository": REPOSITORY, "revision": "", "folder": "", "licence": FREE,
        "files": tuple(ModelFile(file, len(data)) for file, data in samples.items()),
    }  # fmt: skip
    return Model(name=name, **{**defaults, **values})


def base_entry(**values: object) -> Model:
    defaults = {"repository": BASE_REPOSITORY, "revision": BASE_REVISION, "folder": "base", "licence": STRICT}
    return entry("base", base_files(), **{**defaults, **values})
