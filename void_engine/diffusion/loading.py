"""From files to the stock `diffusers` and `transformers` classes: the transformer, the VAE, T5, the schedulers.

Promises: only safetensors are read, nothing is downloaded, and a checkpoint that does not fit is refused by the
name of the tensor, its shape and the likely cause. Must not place models on devices beyond what it is told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel, DDIMScheduler
from safetensors import SafetensorError, safe_open
from void_client.errors import ModelError

from void_engine.diffusion.geometry import LATENT_CHANNELS, PATCH

log = logging.getLogger(__name__)

MODEL_CHANNELS = 3 * LATENT_CHANNELS  # noise, mask, video
_NOISE_KEY = "add_noise_in_inpaint_model"  # VOID's own; the stock class warns of it
_PROJ = "patch_embed.proj.weight"
_PATCH_ELEMENTS = PATCH**3  # a token's elements of one channel: 2 latents x 2 x 2
_VOCABULARIES = ("spiece.model", "tokenizer.json")
_EDGE = LATENT_CHANNELS * _PATCH_ELEMENTS  # columns of the noise (first) and of the video (last)

Tensors = dict[str, torch.Tensor]
# mypy sees no attributes of diffusers' classes: their bases are imported lazily.
Transformer: TypeAlias = Any  # CogVideoXTransformer3DModel
Vae: TypeAlias = Any  # AutoencoderKLCogVideoX
Scheduler: TypeAlias = Any  # DDIMScheduler or CogVideoXDDIMScheduler


def read_config(path: Path) -> dict[str, Any]:
    """A component's configuration. Raises ``ModelError`` naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ModelError(
            f"The model's file {path} cannot be read: {problem}.",
            hint="Fetch the models again with `void models fetch`, or check them with `void models verify`.",
            details={"file": str(path)},
        ) from problem
    if not isinstance(value, dict):
        raise ModelError(f"The model's file {path} is not a configuration.", details={"file": str(path)})
    return value


def load_transformer(base: Path, checkpoint: Path, dtype: torch.dtype, device: torch.device) -> Transformer:
    """The 48-channel VOID transformer of ``checkpoint``, in the shape that ``base`` describes.

    An old checkpoint of 33 channels is widened: see `_widened`. Raises ``ModelError``.
    """
    config = read_config(base / "transformer" / "config.json")
    config.pop(_NOISE_KEY, None)
    model = _empty_transformer(base, {**config, "in_channels": MODEL_CHANNELS})
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    shapes = _shapes(checkpoint)
    _check_names(checkpoint, wanted, shapes)
    old = shapes[_PROJ] == (wanted[_PROJ][0], _old_columns())
    if old:
        shapes[_PROJ] = wanted[_PROJ]
    _check_shapes(checkpoint, wanted, shapes)
    state: Tensors = {}
    for name, tensor in _tensors(checkpoint):
        value = _widened(tensor, _base_projection(base)) if old and name == _PROJ else tensor
        # A copy: where the bytes of a mapped file lie in memory changes the last bits of what is computed.
        state[name] = value.to(device=device, dtype=dtype, copy=True)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def load_vae(base: Path, dtype: torch.dtype) -> Vae:
    """The stock video VAE, on the CPU. Raises ``ModelError``."""
    vae = _weights_from_pretrained(AutoencoderKLCogVideoX, base / "vae", torch_dtype=dtype)
    return vae.eval().requires_grad_(False)


def load_text_encoder(base: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """T5's tokenizer and encoder, on the CPU. Raises ``ModelError``."""
    from transformers import T5EncoderModel, T5Tokenizer  # 3 s, and another seed does not need it
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # progress is told by our callback
    tokenizer = _from_pretrained(T5Tokenizer, base / "tokenizer")
    if not any((base / "tokenizer" / name).is_file() for name in _VOCABULARIES):
        # The class makes up an empty vocabulary then, and every prompt reads as unknown words.
        raise ModelError(
            f"The tokenizer in {base / 'tokenizer'} has no vocabulary ({' or '.join(_VOCABULARIES)}).",
            hint="Run `void models verify`, then `void models fetch`.",
            details={"file": str(base / "tokenizer" / _VOCABULARIES[0])},
        )
    encoder = _weights_from_pretrained(T5EncoderModel, base / "text_encoder", dtype=dtype)
    return tokenizer, encoder.eval().requires_grad_(False)


def load_scheduler(base: Path, pass_number: int) -> Scheduler:
    """Pass 1 takes ``DDIMScheduler``, pass 2 ``CogVideoXDDIMScheduler``, both with the base's configuration.

    Raises ``ModelError`` where the configuration is not the one that VOID learned with: the classes' defaults
    differ from it (``snr_shift_scale`` 3.0), and a wrong one gives pale or noisy pictures, not an error.
    """
    path = base / "scheduler" / "scheduler_config.json"
    config = read_config(path)
    learned = {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
        "snr_shift_scale": 1.0,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "clip_sample": False,
    }
    for key, value in learned.items():
        if config.get(key) != value:
            raise ModelError(
                f"The scheduler's {key} is {config.get(key)!r}, and VOID learned with {value!r} ({path}).",
                hint="The base model must be CogVideoX-Fun-V1.5-5b-InP: see `void models list`.",
                details={"file": str(path), "key": key},
            )
    known = {key: value for key, value in config.items() if not key.startswith("_")}
    if pass_number == 2:
        return _made(CogVideoXDDIMScheduler, known)
    known.pop("snr_shift_scale")  # the other class's; 1.0 is what this one does
    return _made(DDIMScheduler, known)


def adds_condition_noise(base: Path) -> bool:
    """Whether noise is added to the video before it is encoded; stock `diffusers` drops this key."""
    return bool(read_config(base / "transformer" / "config.json").get(_NOISE_KEY, False))


def _widened(old: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """The 48-channel projection of an old checkpoint's 33-channel one; columns are channel by channel, 8 each.

    Noise and video columns are the checkpoint's. The mask's are the base's: its one channel's 8, 16 times.
    """
    middle = base[:, _EDGE : _EDGE + _PATCH_ELEMENTS].repeat(1, LATENT_CHANNELS).to(old.dtype)
    return torch.cat([old[:, :_EDGE], middle, old[:, -_EDGE:]], dim=1)


def _old_columns() -> int:
    return 2 * _EDGE + _PATCH_ELEMENTS


def _base_projection(base: Path) -> torch.Tensor:
    folder = base / "transformer"
    for path in sorted(folder.glob("*.safetensors")):
        if _PROJ in _shapes(path):
            with safe_open(path, framework="pt") as file:
                tensor: torch.Tensor = file.get_tensor(_PROJ)
            if tensor.shape[1] != _old_columns():
                raise ModelError(
                    f"{_PROJ} of the base {path} is {tuple(tensor.shape)}: it has no single mask channel to widen.",
                    hint="A 33-channel VOID checkpoint needs the CogVideoX-Fun InP base beside it.",
                    details={"file": str(path), "key": _PROJ},
                )
            return tensor
    raise ModelError(
        f"The base model in {folder} has no {_PROJ}, which an old 33-channel checkpoint needs.",
        hint="Fetch the base's transformer, too, or take a 48-channel checkpoint.",
        details={"file": str(folder), "key": _PROJ},
    )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors, from its header."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except (OSError, SafetensorError) as problem:
        raise ModelError(
            f"The checkpoint {path} cannot be read: {problem}.",
            hint="Only safetensors are read. A file of the wrong length was not fetched to its end: "
            "run `void models verify`, then `void models fetch`.",
            details={"file": str(path)},
        ) from problem


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """One at a time: a checkpoint of 11 GB is never in memory twice."""
    with safe_open(path, framework="pt") as file:
        for name in file.keys():
            yield name, file.get_tensor(name)


def _check_names(path: Path, wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> None:
    missing = sorted(wanted.keys() - found.keys())
    unknown = sorted(found.keys() - wanted.keys())
    if not missing and not unknown:
        return
    key = missing[0] if missing else unknown[0]
    if not wanted.keys() & found.keys():
        cause = "It is the checkpoint of another model, or wrapped in a prefix that VOID's files do not have."
    elif missing and _block(missing[0]) is not None:
        cause = "The base's configuration has more layers: checkpoint and base are not of the same size."
    elif unknown and _block(unknown[0]) is not None:
        cause = "The base's configuration has fewer layers: checkpoint and base are not of the same size."
    else:
        cause = "It was saved from another version of the model."
    what = f"lacks {key} {wanted[key]}" if missing else f"has {key} {found[key]}, which the model does not know"
    rest = max(len(missing), len(unknown)) - 1
    raise ModelError(
        f"The checkpoint {path} {what}" + (f" (and {rest} more)." if rest else "."),
        hint=cause,
        details={"file": str(path), "key": key},
    )


def _check_shapes(path: Path, wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> None:
    for name, shape in wanted.items():
        if found[name] == shape:
            continue
        if name == _PROJ and len(found[name]) == len(shape) == 2 and found[name][0] == shape[0]:
            channels = found[name][1] / _PATCH_ELEMENTS
            cause = (
                f"It takes {channels:g} input channels; VOID takes 48, or 33 in old files. "
                "A plain CogVideoX-Fun checkpoint is not VOID's."
            )
        else:
            cause = "Checkpoint and base are not of the same size: take the base that the checkpoint was made from."
        raise ModelError(
            f"{name} of the checkpoint {path} is {found[name]}, and the model's is {shape}.",
            hint=cause,
            details={"file": str(path), "key": name, "shape": list(found[name]), "wanted": list(shape)},
        )


def _block(name: str) -> str | None:
    return name if name.startswith("transformer_blocks.") else None


def _made(kind: Any, config: dict[str, Any]) -> Any:
    return kind.from_config(config)


def _empty_transformer(base: Path, config: dict[str, Any]) -> Transformer:
    """Without weights: nothing is filled that the checkpoint is about to replace."""
    path = base / "transformer" / "config.json"
    if config.get("use_rotary_positional_embeddings") is not True:
        # Otherwise positions would be a table that no checkpoint of VOID holds.
        raise ModelError(
            f"The transformer's configuration {path} is not that of a model with rotary positions.",
            hint="The base model must be CogVideoX-Fun-V1.5-5b-InP: see `void models list`.",
            details={"file": str(path), "key": "use_rotary_positional_embeddings"},
        )
    try:
        with torch.device("meta"):
            return _made(CogVideoXTransformer3DModel, config)
    except Exception as problem:  # the class raises whatever a bad value led it to
        raise ModelError(
            f"The transformer's configuration {path} describes no model: {problem}.",
            hint="Run `void models verify`, then `void models fetch`.",
            details={"file": str(path)},
        ) from problem


def _weights_from_pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    """Weights that the files lack would be made up at random, with no more than a line in the log: refused."""
    model, facts = _from_pretrained(kind, folder, use_safetensors=True, output_loading_info=True, **options)
    missing = sorted(facts["missing_keys"])
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ModelError(
            f"The model in {folder} lacks {missing[0]}{more}.",
            hint="It belongs to another model, or was not fetched to its end: run `void models verify`.",
            details={"file": str(folder), "key": missing[0]},
        )
    return model


def _from_pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    if not folder.is_dir():
        raise ModelError(
            f"The base model lacks the folder {folder}.",
            hint="Run `void models fetch`, or give the whole folder of CogVideoX-Fun-V1.5-5b-InP.",
            details={"file": str(folder)},
        )
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except Exception as problem:  # the libraries raise whatever a bad value in a file led them to
        raise ModelError(
            f"The model in {folder} cannot be loaded: {problem}",
            hint="Run `void models verify`; only safetensors are read.",
            details={"file": str(folder)},
        ) from problem
