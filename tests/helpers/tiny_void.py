"""Tiny random VOID weights in the real files' layout. They prove what is computed, not that it looks good."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel
from transformers.utils import logging as transformers_logging

_TRANSFORMER = {
    "num_attention_heads": 2, "attention_head_dim": 32, "num_layers": 2, "time_embed_dim": 32, "text_embed_dim": 32,
    "patch_size": 2, "patch_size_t": 2, "patch_bias": False, "out_channels": 16, "sample_height": 300,
    "sample_width": 300, "sample_frames": 81, "use_rotary_positional_embeddings": True,
}  # fmt: skip
_VAE = {
    "block_out_channels": [16, 16, 16, 16], "layers_per_block": 1, "latent_channels": 16, "norm_num_groups": 4,
    "scaling_factor": 0.7, "down_block_types": ["CogVideoXDownBlock3D"] * 4,
    "up_block_types": ["CogVideoXUpBlock3D"] * 4,
}  # fmt: skip
_SCHEDULER = {
    "_class_name": "CogVideoXDDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "clip_sample": False, "num_train_timesteps": 1000,
    "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "set_alpha_to_one": True,
    "snr_shift_scale": 1.0, "steps_offset": 0, "timestep_spacing": "trailing",
}  # fmt: skip
_WORDS = "an empty table in a room with a ball that rolls and falls down the stairs of the old house by the river"


@dataclass(frozen=True)
class TinyModel:
    """A models folder as `void_engine.models` knows it."""

    root: Path
    base: Path
    pass1: Path
    pass2: Path


def write_tiny_model(root: Path) -> TinyModel:
    """The same weights every time."""
    base = root / "tiny-base"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        old = CogVideoXTransformer3DModel(**_TRANSFORMER, in_channels=33)
        old.save_pretrained(base / "transformer")
        config = base / "transformer" / "config.json"
        known = json.loads(config.read_text())
        config.write_text(json.dumps({**known, "add_noise_in_inpaint_model": True}))
        AutoencoderKLCogVideoX(**_VAE).save_pretrained(base / "vae")
        passes = []
        for number in (1, 2):
            model = CogVideoXTransformer3DModel(**_TRANSFORMER, in_channels=48)
            # Fresh layers of this class begin at zero: give every one something to do.
            state = {name: tensor + 0.05 * torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
            passes.append(root / f"void_pass{number}.safetensors")
            save_file(state, passes[-1])
        _write_text_encoder(base)
    (base / "scheduler").mkdir()
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(_SCHEDULER))
    (base / "model_index.json").write_text(json.dumps({"_class_name": "CogVideoXFunInpaintPipeline"}))
    return TinyModel(root, base, passes[0], passes[1])


def _write_text_encoder(base: Path) -> None:
    folder = base / "tokenizer"
    folder.mkdir(parents=True)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join([_WORDS, *_WORDS.split()] * 4))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "spiece"), vocab_size=48, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    corpus.unlink()
    (folder / "spiece.vocab").unlink()
    settings = {
        "tokenizer_class": "T5Tokenizer", "extra_ids": 0, "eos_token": "</s>", "pad_token": "<pad>",
        "unk_token": "<unk>", "legacy": True,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(
        json.dumps({key: settings[key] for key in ("eos_token", "pad_token", "unk_token")})
    )
    encoder = T5EncoderModel(
        T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=64, feed_forward_proj="gated-gelu")
    )
    transformers_logging.disable_progress_bar()
    encoder.save_pretrained(base / "text_encoder")
