"""Tiny random SAM 2.1 weights in the real files' layout. They prove what is computed, not that it looks good."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Sam2VideoConfig, Sam2VideoModel

from void_engine.models.catalogue import SAM2

SIZE = 64  # the model's square; 1024 as published
_HIDDEN = 128


def tiny_config() -> Sam2VideoConfig:
    return Sam2VideoConfig(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model", "hidden_size": 16, "num_attention_heads": 1,
                "image_size": [SIZE, SIZE], "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [16, 32, 64, 128],
                "num_attention_heads_per_stage": [1, 2, 4, 8], "window_size_per_stage": [8, 4, 14, 7],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[SIZE // 4] * 2, [SIZE // 8] * 2, [SIZE // 16] * 2],
            "fpn_hidden_size": _HIDDEN,
        },
        prompt_encoder_config={"hidden_size": _HIDDEN, "image_size": SIZE},
        mask_decoder_config={"hidden_size": _HIDDEN},
        image_size=SIZE, memory_attention_hidden_size=_HIDDEN, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=128, memory_attention_rope_feat_sizes=[SIZE // 16] * 2,
        memory_encoder_hidden_size=_HIDDEN, memory_encoder_output_channels=64, mask_downsampler_embed_dim=_HIDDEN,
        memory_fuser_embed_dim=_HIDDEN, memory_fuser_intermediate_dim=4 * _HIDDEN,
    )  # fmt: skip


def write_tiny_sam2(root: Path) -> Path:
    """Into a models' folder; the same weights every time. Returns the model's own folder."""
    folder = root / SAM2.folder
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Sam2VideoModel(tiny_config())
        # Fresh biases and embeddings are zero, and norms are one: give every tensor something to do.
        state = {name: tensor + 0.05 * torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    one, other = "shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding"
    state[other] = state[one].clone()
    state["mask_decoder.pred_obj_score_head.proj_out.bias"].fill_(3.0)  # the object is seen
    for head in range(4):  # logits of the real model's size: about -10 to 10
        state[f"mask_decoder.output_hypernetworks_mlps.{head}.proj_out.weight"] *= 40.0
    model.config.save_pretrained(folder)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    return folder
