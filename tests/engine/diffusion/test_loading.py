"""Files that are missing, torn, or of another model: refused by name, shape and likely cause."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import plain_void
from helpers.tiny_void import TinyModel
from safetensors.torch import load_file, save_file
from void_client.errors import JobFailed, ModelError

from void_engine.diffusion import VoidPipeline
from void_engine.diffusion.loading import load_scheduler, load_text_encoder, load_transformer, load_vae

PROJ = "patch_embed.proj.weight"
CPU = torch.device("cpu")
Spoil = Callable[[Path], None]


@pytest.fixture
def base(tiny: TinyModel, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny.base, tmp_path / "base"))


def checkpoint(tiny: TinyModel, folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    """Pass 1's checkpoint after ``change`` of its tensors."""
    state = load_file(tiny.pass1)
    state = change(state) or state
    path = folder / "changed.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def refused(tiny: TinyModel, path: Path, base: Path | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_transformer(base or tiny.base, path, torch.float32, CPU)
    assert str(path) in str(caught.value) or base is not None
    assert caught.value.hint
    return caught.value


def test_a_checkpoint_that_is_not_there(tiny, tmp_path):
    assert refused(tiny, tmp_path / "none.safetensors").details["file"].endswith("none.safetensors")


@pytest.mark.parametrize("length", [0, 4, 100, 50_000, -1])
def test_a_torn_checkpoint(tiny, tmp_path, length):
    path = tmp_path / "torn.safetensors"
    path.write_bytes(tiny.pass1.read_bytes()[:length])
    assert "not fetched to its end" in refused(tiny, path).hint


def test_a_folder_is_no_checkpoint(tiny, tmp_path):
    refused(tiny, tmp_path)


class Bomb:
    """What a pickle may do on load."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.target),)

    def __init__(self, target: Path) -> None:
        self.target = str(target)


def test_pickles_are_not_read(tiny, base, tmp_path):
    sign = tmp_path / "exploded"
    path = tmp_path / "void.bin"
    torch.save({"state": Bomb(sign)}, path)
    assert "safetensors" in refused(tiny, path).hint
    for folder, name, load in (
        ("vae", "diffusion_pytorch_model", load_vae),
        ("text_encoder", "model", load_text_encoder),
    ):
        (base / folder / f"{name}.safetensors").unlink()
        torch.save({"state": Bomb(sign)}, base / folder / "diffusion_pytorch_model.bin")
        torch.save({"state": Bomb(sign)}, base / folder / "pytorch_model.bin")
        with pytest.raises(ModelError, match="safetensors"):
            load(base, torch.float32)
    assert not sign.exists()
    torch.load(path, weights_only=False)
    assert sign.exists()  # it would have


@pytest.mark.parametrize(
    ("change", "key", "cause"),
    [
        (lambda s: {f"model.{name}": tensor for name, tensor in s.items()}, "norm_final.bias", "prefix"),
        (lambda s: s.pop("norm_out.linear.weight"), "norm_out.linear.weight", "another version"),
        (lambda s: s.update(extra=torch.zeros(3)), "extra", "another version"),
        (
            lambda s: [s.pop(name) for name in list(s) if name.startswith("transformer_blocks.1.")],
            "transformer_blocks.1.attn1.norm_k.bias",
            "more layers",
        ),
        (
            lambda s: s.update(
                {n.replace("s.1.", "s.2."): t.clone() for n, t in s.items() if "transformer_blocks.1." in n}
            ),
            "transformer_blocks.2.attn1.norm_k.bias",
            "fewer layers",
        ),
    ],
    ids=["prefix", "missing", "unknown", "fewer layers", "more layers"],
)
def test_wrong_names_are_told_with_the_likely_cause(tiny, tmp_path, change, key, cause):
    def changed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        result = change(state)
        return result if isinstance(result, dict) else state

    problem = refused(tiny, checkpoint(tiny, tmp_path, changed))
    assert key in problem.message
    assert problem.details["key"] == key
    assert cause in problem.hint


@pytest.mark.parametrize(
    ("name", "shape", "cause"),
    [
        ("transformer_blocks.0.attn1.to_q.weight", (128, 64), "not of the same size"),
        (PROJ, (64, 16 * 8), "16 input channels"),
        (PROJ, (64, 32 * 8), "32 input channels"),
        (PROJ, (64, 34 * 8), "34 input channels"),
        (PROJ, (32, 33 * 8), "not of the same size"),
        (PROJ, (64, 48, 2, 2), "not of the same size"),
        (PROJ, (64 * 384,), "not of the same size"),
        (PROJ, (), "not of the same size"),
    ],
)
def test_wrong_shapes_are_told_with_the_likely_cause(tiny, tmp_path, name, shape, cause):
    problem = refused(tiny, checkpoint(tiny, tmp_path, lambda s: s.update({name: torch.zeros(shape)})))
    assert name in problem.message
    assert str(shape) in problem.message
    assert problem.details["shape"] == list(shape)
    assert cause in problem.hint


def test_an_old_checkpoint_is_widened_channel_by_channel(tiny, tmp_path):
    old = torch.randn((64, 33 * 8), generator=torch.Generator().manual_seed(1))
    path = checkpoint(tiny, tmp_path, lambda s: s.update({PROJ: old}))
    found = load_transformer(tiny.base, path, torch.float32, CPU).state_dict()[PROJ]
    stock = load_file(tiny.base / "transformer" / "diffusion_pytorch_model.safetensors")[PROJ]
    assert torch.equal(found, plain_void.widened(old, stock))
    half = load_transformer(tiny.base, path, torch.bfloat16, CPU).state_dict()[PROJ]
    assert torch.equal(half, plain_void.widened(old, stock).bfloat16())


def test_an_old_checkpoint_needs_the_bases_own_projection(tiny, base, tmp_path):
    path = checkpoint(tiny, tmp_path, lambda s: s.update({PROJ: s[PROJ][:, : 33 * 8]}))
    weights = base / "transformer" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    save_file({**state, PROJ: torch.zeros(64, 16 * 8)}, weights)
    assert "no single mask channel" in refused(tiny, path, base).message
    save_file({name: tensor for name, tensor in state.items() if name != PROJ}, weights)
    assert refused(tiny, path, base).details["key"] == PROJ
    weights.unlink()
    assert "48-channel" in refused(tiny, path, base).hint
    load_transformer(base, tiny.pass1, torch.float32, CPU)  # which needs none of it


def set_json(name: str, **changes: Any) -> Spoil:
    def spoil(base: Path) -> None:
        value = {**json.loads((base / name).read_text()), **changes}
        kept = {key: entry for key, entry in value.items() if entry != "gone"}
        (base / name).write_text(json.dumps(kept))

    return spoil


@pytest.mark.parametrize("text", ["{", "[]", "", "\x00"])
def test_a_configuration_that_is_none(base, text):
    for name, load in (
        ("transformer/config.json", lambda: load_transformer(base, base / "none", torch.float32, CPU)),
        ("scheduler/scheduler_config.json", lambda: load_scheduler(base, 1)),
        ("vae/config.json", lambda: load_vae(base, torch.float32)),
        ("text_encoder/config.json", lambda: load_text_encoder(base, torch.float32)),
    ):
        (base / name).write_text(text)
        with pytest.raises(ModelError) as caught:
            load()
        assert str(base / name.split("/")[0]) in str(caught.value), name
        assert caught.value.details["file"].startswith(str(base / name.split("/")[0]))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": "two"},
        {"num_attention_heads": None},
        {"attention_head_dim": -1},
        {"activation_fn": "none such"},
        {"use_rotary_positional_embeddings": False},
    ],
)
def test_a_transformers_configuration_that_describes_no_void(tiny, base, changes):
    set_json("transformer/config.json", **changes)(base)
    problem = refused(tiny, tiny.pass1, base)
    assert problem.details["file"]


@pytest.mark.parametrize("name", ["vae", "text_encoder"])
def test_bad_values_in_other_configurations(base, name):
    set_json(f"{name}/config.json", layers_per_block="one", num_layers="one")(base)
    with pytest.raises(ModelError, match=name):
        load_vae(base, torch.float32) if name == "vae" else load_text_encoder(base, torch.float32)


@pytest.mark.parametrize(
    ("folder", "load"), [("vae", load_vae), ("text_encoder", load_text_encoder), ("tokenizer", load_text_encoder)]
)
def test_missing_and_empty_folders(base, folder, load):
    shutil.rmtree(base / folder)
    with pytest.raises(ModelError, match="lacks the folder"):
        load(base, torch.float32)
    (base / folder).mkdir()
    with pytest.raises(ModelError, match=folder):
        load(base, torch.float32)


def test_a_missing_base(tiny, tmp_path):
    with pytest.raises(ModelError):
        VoidPipeline.from_pretrained(tmp_path / "none", tiny.pass1, device="cpu")
    with pytest.raises(ModelError):
        load_scheduler(tmp_path, 1)


@pytest.mark.parametrize(
    ("name", "load", "key"),
    [
        ("vae/diffusion_pytorch_model.safetensors", load_vae, "decoder.conv_in.conv.weight"),
        ("text_encoder/model.safetensors", load_text_encoder, "encoder.final_layer_norm.weight"),
    ],
)
def test_weights_that_lack_a_tensor_are_not_filled_at_random(base, name, load, key):
    """The libraries only log it."""
    path = base / name
    state = load_file(path)
    del state[key]
    save_file(state, path, {"format": "pt"})
    with pytest.raises(ModelError, match="lacks") as caught:
        load(base, torch.float32)
    assert caught.value.details["key"] == key


@pytest.mark.parametrize(
    ("name", "load"),
    [("vae/diffusion_pytorch_model.safetensors", load_vae), ("text_encoder/model.safetensors", load_text_encoder)],
)
def test_torn_weights(base, name, load):
    path = base / name
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=name.split("/")[0]):
        load(base, torch.float32)


def test_a_tokenizer_without_a_vocabulary_is_not_an_empty_one(base):
    (base / "tokenizer" / "spiece.model").unlink()
    with pytest.raises(ModelError, match="vocabulary"):
        load_text_encoder(base, torch.float32)


def test_a_torn_vocabulary(base):
    path = base / "tokenizer" / "spiece.model"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelError, match="tokenizer"):
        load_text_encoder(base, torch.float32)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("snr_shift_scale", "gone"),
        ("snr_shift_scale", 3.0),
        ("prediction_type", "epsilon"),
        ("rescale_betas_zero_snr", False),
        ("timestep_spacing", "leading"),
        ("clip_sample", "gone"),  # pass 1's class clips then
        ("beta_schedule", "gone"),
        ("beta_end", 0.02),
    ],
)
def test_a_scheduler_that_void_did_not_learn_with(base, number, key, value):
    set_json("scheduler/scheduler_config.json", **{key: value})(base)
    with pytest.raises(ModelError, match=key) as caught:
        load_scheduler(base, number)
    assert caught.value.details["key"] == key
    assert caught.value.details["file"].endswith("scheduler_config.json")


def test_the_recorded_bases_scheduler_is_accepted(tiny):
    assert type(load_scheduler(tiny.base, 1)).__name__ == "DDIMScheduler"
    assert type(load_scheduler(tiny.base, 2)).__name__ == "CogVideoXDDIMScheduler"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_fail_in_the_first_step(tiny, tmp_path, value):
    def spoil(state: dict[str, torch.Tensor]) -> None:
        state["proj_out.weight"][0, 0] = value

    path = checkpoint(tiny, tmp_path, spoil)
    pipe = VoidPipeline.from_pretrained(tiny.base, path, torch.float32, "cpu")
    calls = []
    pipe.residency.transformer.register_forward_hook(lambda *_: calls.append(1))
    video, quadmask = np.zeros((5, 32, 64, 3), np.uint8), np.zeros((5, 32, 64), np.uint8)
    with pytest.raises(JobFailed, match="not finite in step 1") as caught:
        pipe(video, quadmask, "a ball", height=16, width=32, num_inference_steps=9, window_frames=5)
    assert "verify" in caught.value.hint
    assert len(calls) == 1
