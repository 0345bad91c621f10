"""SAM 2.1's weights: from the published safetensors to either implementation of the model.

The hub's files are in the layout of `transformers`; Meta's package has other names for the same tensors. Promises: only
safetensors are read, nothing is downloaded, and every tensor has its place or the file is refused by the tensor's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import Sam2VideoConfig
from void_client.errors import ModelError

from void_engine.models.sam2_folder import CONFIG, WEIGHTS

Tensors = dict[str, torch.Tensor]

# One matrix under two names; files of some versions hold one of them only.
_TWINS = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")
_POINTS = "prompt_encoder.point_embed.weight"

_MASK_EMBED = {"conv1": 0, "layer_norm1": 1, "conv2": 3, "layer_norm2": 4, "conv3": 6}
_UPSCALE = {"upscale_conv1": 0, "upscale_layer_norm": 1, "upscale_conv2": 3}
_RENAMED: tuple[tuple[str, str], ...] = (
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (r"^vision_encoder\.backbone\.patch_embed\.projection\.", "image_encoder.trunk.patch_embed.proj."),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
    (r"^(memory_encoder\.fuser\.layers\.\d+)\.scale$", r"\1.gamma"),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"\.shared_embedding\.positional_embedding$", ".pe_layer.positional_encoding_gaussian_matrix"),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"\.o_proj\.", ".out_proj."),
    # Multilayer perceptrons: of two layers in transformer blocks, of three elsewhere.
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
    (r"(_mlps\.\d+|_head|obj_ptr_proj)\.layers\.0\.", r"\1.layers.1."),
    (r"(_mlps\.\d+|_head|obj_ptr_proj)\.proj_in\.", r"\1.layers.0."),
    (r"(_mlps\.\d+|_head|obj_ptr_proj)\.proj_out\.", r"\1.layers.2."),
)


def load_config(folder: Path) -> Any:
    """The model's `Sam2VideoConfig`. Raises ``ModelError``."""
    path = folder / CONFIG
    try:
        config = Sam2VideoConfig.from_pretrained(folder, local_files_only=True)
        kind = Sam2VideoConfig.get_config_dict(folder, local_files_only=True)[0].get("model_type")
    except Exception as problem:  # the library raises whatever a bad value in the file led it to
        raise _bad(path, f"The model's configuration {path} cannot be read: {problem}.") from problem
    if kind != Sam2VideoConfig.model_type:
        raise _bad(path, f"{path} describes a model of type {kind!r}, not SAM 2's {Sam2VideoConfig.model_type!r}.")
    return config


def load_tensors(folder: Path) -> Tensors:
    """Every tensor, in the layout of `transformers`. Raises ``ModelError``."""
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as problem:
        raise _bad(path, f"The weights {path} cannot be read: {problem}.") from problem
    for one, other in (_TWINS, _TWINS[::-1]):
        if one in tensors and other not in tensors:
            tensors[other] = tensors[one]
    return {name: tensor.to(torch.float32) for name, tensor in tensors.items()}


def to_meta(tensors: Tensors) -> Tensors:
    """The same tensors under the names of Meta's package."""
    found: Tensors = {}
    stages = 1 + max((int(n.split(".")[3]) for n in tensors if n.startswith(_DOWN)), default=0)
    for name, tensor in tensors.items():
        if name == _TWINS[0]:
            continue
        if name == _POINTS:  # one row for each kind of point: beside, on, a box's first corner, its second
            for row in range(tensor.shape[0]):
                found[f"sam_prompt_encoder.point_embeddings.{row}.weight"] = tensor[row : row + 1]
            continue
        found[_meta_name(name, stages)] = tensor
    return found


_DOWN = "memory_encoder.mask_downsampler.layers."


def _meta_name(name: str, stages: int) -> str:
    part, _, tail = name.rpartition(".")
    head, _, last = part.rpartition(".")
    if name.startswith(_DOWN):  # in Meta's, a stage is a convolution, a norm and an activation in one sequence
        return f"memory_encoder.mask_downsampler.encoder.{3 * int(name.split('.')[3]) + (last == 'layer_norm')}.{tail}"
    if part == "memory_encoder.mask_downsampler.final_conv":
        return f"memory_encoder.mask_downsampler.encoder.{3 * stages}.{tail}"
    if head == "prompt_encoder.mask_embed":
        return f"sam_prompt_encoder.mask_downscaling.{_MASK_EMBED[last]}.{tail}"
    if head == "mask_decoder" and last in _UPSCALE:
        return f"sam_mask_decoder.output_upscaling.{_UPSCALE[last]}.{tail}"
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name.replace("layer_norm", "norm")


def check(folder: Path, wanted: dict[str, tuple[int, ...]], found: Tensors) -> None:
    """Raises ``ModelError`` that names the first tensor that is missing, unknown or of another shape."""
    path = folder / WEIGHTS
    for name in sorted(wanted.keys() - found.keys()):
        raise _bad(path, f"The weights {path} lack {name} {wanted[name]}.", name)
    for name in sorted(found.keys() - wanted.keys()):
        raise _bad(path, f"The weights {path} have {name}, which SAM 2.1 does not know.", name)
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape:
            raise _bad(path, f"{name} of {path} is {tuple(found[name].shape)}; its configuration says {shape}.", name)


def _bad(path: Path, message: str, key: str = "") -> ModelError:
    return ModelError(
        message,
        hint="It belongs to another model, or was not fetched to its end: run `void models verify`, then "
        "`void models fetch sam2`.",
        details={"file": str(path), **({"key": key} if key else {})},
    )


def meta_settings(config: Any) -> dict[str, Any]:
    """What of Meta's ``sam2.1_hiera_t.yaml`` differs for this model: the published sizes, or a test's tiny one."""
    trunk, hidden = config.vision_config.backbone_config, config.vision_config.fpn_hidden_size
    tokens = [config.image_size // 16] * 2
    attention = {
        "feat_sizes": tokens,
        "embedding_dim": hidden,
        "num_heads": config.memory_attention_num_attention_heads,
        "downsample_rate": config.memory_attention_downsample_rate,
    }
    memory = config.memory_encoder_output_channels
    decoder = config.mask_decoder_config
    return {
        "_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor",
        "image_size": config.image_size,
        "num_maskmem": config.num_maskmem,
        "max_obj_ptrs_in_encoder": config.max_object_pointers_in_encoder,
        "no_obj_embed_spatial": config.enable_occlusion_spatial_embedding,
        "proj_tpos_enc_in_obj_ptrs": config.enable_temporal_pos_encoding_for_object_pointers,
        # As Meta's `build_sam2_video_predictor` sets them over its files.
        "binarize_mask_from_pts_for_mem_enc": True,
        "sam_mask_decoder_extra_args": {
            "dynamic_multimask_via_stability": decoder.dynamic_multimask_via_stability,
            "dynamic_multimask_stability_delta": decoder.dynamic_multimask_stability_delta,
            "dynamic_multimask_stability_thresh": decoder.dynamic_multimask_stability_thresh,
        },
        "image_encoder": {
            "trunk": {
                "embed_dim": trunk.hidden_size,
                "num_heads": trunk.num_attention_heads,
                "stages": list(trunk.blocks_per_stage),
                "global_att_blocks": list(trunk.global_attention_blocks),
                "window_spec": list(trunk.window_size_per_stage),
                "window_pos_embed_bkg_spatial_size": list(trunk.window_positional_embedding_background_size),
            },
            "neck": {
                "position_encoding": {"num_pos_feats": hidden},
                "d_model": hidden,
                "backbone_channel_list": list(config.vision_config.backbone_channel_list),
            },
        },
        "memory_attention": {
            "d_model": hidden,
            "num_layers": config.memory_attention_num_layers,
            "layer": {
                "d_model": hidden,
                "dim_feedforward": config.memory_attention_feed_forward_hidden_size,
                "self_attention": attention,
                "cross_attention": {**attention, "kv_in_dim": memory},
            },
        },
        "memory_encoder": {
            "out_dim": memory,
            "in_dim": hidden,
            "position_encoding": {"num_pos_feats": memory},
            "mask_downsampler": {"embed_dim": config.mask_downsampler_embed_dim},
            "fuser": {
                "layer": {"dim": config.memory_fuser_embed_dim, "kernel_size": config.memory_fuser_kernel_size},
                "num_layers": config.memory_fuser_num_layers,
            },
        },
    }
