"""How fast the diffusion model runs: each option of `Speed` and `Residency` against the plain eager transformer.

``python tests/benchmarks/diffusion.py``: with a CUDA device VOID's full size, 384 x 672 x 85 frames, 42 blocks;
without, a tiny model that proves that every path runs and says nothing of real speed. Weights are random and made on
the device: nothing is loaded or fetched. So what `first_block_cache` skips here is not what it skips in a real shot;
the case that skips all but the first step shows what a skipped step costs.

``--device cpu|cuda --size 384x672 --frames 85 --layers 42 --steps 30 --repeat 5 --only TEXT --json PATH``
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel, DDIMScheduler
from void_client.errors import JobError

from void_engine.diffusion import Speed, attention
from void_engine.diffusion.geometry import LATENT_CHANNELS, PATCH, SPATIAL, Window, latent_frames
from void_engine.diffusion.memory import Residency
from void_engine.diffusion.sampling import Conditions, Denoising, Sampler, Watch
from void_engine.diffusion.speed import warm_up
from void_engine.diffusion.vae import Tiling, VideoVae

# mypy sees no attributes of diffusers' classes: their bases are imported lazily.
transformer_kind: Any = CogVideoXTransformer3DModel
scheduler_kind: Any = DDIMScheduler
TEXT = 226
SHAPE = {
    "in_channels": 48, "out_channels": 16, "patch_size": 2, "patch_size_t": 2, "patch_bias": False,
    "sample_height": 300, "sample_width": 300, "sample_frames": 81, "use_rotary_positional_embeddings": True,
}  # fmt: skip
FULL = {"num_attention_heads": 48, "attention_head_dim": 64, "time_embed_dim": 512, "text_embed_dim": 4096}
TINY = {"num_attention_heads": 2, "attention_head_dim": 32, "time_embed_dim": 32, "text_embed_dim": 32}
FULL_VAE = {"block_out_channels": (128, 256, 256, 512), "layers_per_block": 3, "norm_num_groups": 32}
TINY_VAE = {"block_out_channels": (16, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 4}
SCHEDULER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
}  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """``repeat``: steps of a measurement without a cache; with one, all ``steps`` are run."""

    device: str
    height: int
    width: int
    frames: int
    layers: int
    steps: int
    repeat: int

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.on_gpu else torch.float32

    @property
    def latents(self) -> int:
        return latent_frames(self.frames)

    @property
    def model(self) -> dict[str, Any]:
        return {**SHAPE, **(FULL if self.on_gpu else TINY), "num_layers": self.layers}


@dataclass(frozen=True)
class Case:
    name: str
    speed: Speed = dataclasses.field(default_factory=Speed)
    memory: str = "full"
    guidance: float = 1.0


@dataclass
class Row:
    """``seconds``: of one window and step. ``once``: warming up and compiling. ``skipped``: share of the calls."""

    name: str
    seconds: float = 0.0
    total: float = 0.0
    once: float = 0.0
    ratio: float = 0.0
    tera: float = 0.0
    peak: float | None = None
    skipped: float | None = None
    trouble: str = ""


def cases(setup: Setup) -> list[Case]:
    device, head = torch.device(setup.device), setup.model["attention_head_dim"]
    found = [Case("plain eager"), Case("attention native", Speed(attention="native"))]
    for name in attention.known_backends():
        if name in (attention.NATIVE, "flex"):  # flex only when compiled
            continue
        try:
            attention.check_on_device(name, device, setup.dtype, head)
        except JobError:
            continue
        found.append(Case(f"attention {name}", Speed(attention=name)))
    found += [Case(f"first block cache {share}", Speed(first_block_cache=share)) for share in (0.05, 0.1, 0.2)]
    found.append(Case("first block cache, all skipped", Speed(first_block_cache=1e9)))
    return [
        *found,
        Case("2 windows together", Speed(batch_windows=2)),
        Case("compiled blocks", Speed(compile_blocks=True)),
        Case("compiled blocks, cache 0.1", Speed(compile_blocks=True, first_block_cache=0.1)),
        Case("compiled blocks, flex", Speed(compile_blocks=True, attention="flex")),
        Case("compiled blocks, memory fp8", Speed(compile_blocks=True), memory="fp8"),
        Case("memory offload", memory="offload"),
        Case("memory group", memory="group"),
        Case("memory fp8", memory="fp8"),
        Case("guidance 6", guidance=6.0),
    ]


def random_model(kind: Any, config: dict[str, Any], setup: Setup) -> Any:
    """Made where it will be used: 11 GB of random numbers from a CPU would take minutes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(setup.dtype)
    try:
        torch.manual_seed(0)
        with torch.device(setup.device):
            return kind(**config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def random_vae(setup: Setup) -> VideoVae:
    kinds = {"down_block_types": ["CogVideoXDownBlock3D"] * 4, "up_block_types": ["CogVideoXUpBlock3D"] * 4}
    config = {**(FULL_VAE if setup.on_gpu else TINY_VAE), **kinds, "latent_channels": 16, "scaling_factor": 0.7}
    return VideoVae(random_model(AutoencoderKLCogVideoX, config, setup))


def flops(setup: Setup) -> tuple[float, float]:
    """(All blocks, one block) of one window's call: the linear layers of its tokens, and attention. Norms, rotary
    embedding and the time embedding are left out: under 0.1%.
    """
    model = setup.model
    width = model["num_attention_heads"] * model["attention_head_dim"]
    side = SPATIAL * PATCH
    video = setup.latents // PATCH * (setup.height // side) * (setup.width // side)
    tokens = video + TEXT
    block = 2.0 * 12 * width**2 * tokens + 4.0 * tokens**2 * width  # 4 projections, 2 of 4 widths; scores, values
    patch = PATCH**3
    ends = 2.0 * width * (video * patch * (model["in_channels"] + LATENT_CHANNELS) + TEXT * model["text_embed_dim"])
    return block * setup.layers + ends, block


def wait(setup: Setup) -> float:
    if setup.on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()


def ceiling(setup: Setup) -> float:
    """TFLOP/s of a large matrix product: what this card can do in these numbers, today, at this temperature."""
    side = 8192 if setup.on_gpu else 1024
    a, b = torch.randn((2, side, side), device=setup.device, dtype=setup.dtype).unbind()
    times = []
    for _ in range(20):
        start = wait(setup)
        a @ b
        times.append(wait(setup) - start)
    return 2 * side**3 / min(times) / 1e12


def release(setup: Setup) -> None:
    torch._dynamo.reset()
    gc.collect()
    if setup.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(setup: Setup) -> float | None:
    return torch.cuda.max_memory_allocated() / 1e9 if setup.on_gpu else None


def measure(setup: Setup, case: Case, vae: VideoVae) -> Row:
    """A run of the sampler as the pipeline runs it. A case that fails says so and ends nothing."""
    row = Row(case.name)
    release(setup)
    try:
        _measure(setup, case, vae, row)
    except torch.OutOfMemoryError:
        row.trouble = "out of memory"
    # A benchmark goes on with the next case whatever a kernel or a compiler raises here.
    except Exception as problem:  # noqa: BLE001
        row.trouble = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem) else ''}"[:90]
    row.peak = peak(setup)
    return row


def _measure(setup: Setup, case: Case, vae: VideoVae, row: Row) -> None:
    speed, length = case.speed, setup.latents
    device = torch.device(setup.device)
    transformer = random_model(transformer_kind, setup.model, setup)
    speed.prepare(transformer)
    residency = Residency(transformer, vae, Path(), setup.dtype, setup.device)
    residency.settle(case.memory, 0, 0)
    windows = tuple(Window(i * length, (i + 1) * length) for i in range(speed.batch_windows))
    sampler = Sampler(transformer, windows, device, setup.dtype, speed)
    start = wait(setup)
    with ExitStack() as stack:
        stack.enter_context(residency.using_transformer())
        warm_up(sampler, setup.height, setup.width, case.guidance)
        row.once = wait(setup) - start
        steps = setup.repeat if speed.first_block_cache is None else setup.steps
        size = (setup.height // SPATIAL, setup.width // SPATIAL)
        state = sampler.start(
            torch.randn((1, windows[-1].stop, LATENT_CHANNELS, *size), generator=torch.Generator().manual_seed(1)),
            scheduler_kind(**SCHEDULER),
            steps,
        )
        conditions = Conditions(
            torch.randn((1, windows[-1].stop, 2 * LATENT_CHANNELS, *size), device=device),
            torch.randn((1 + (case.guidance > 1), TEXT, setup.model["text_embed_dim"]), device=device).to(setup.dtype),
            case.guidance,
        )
        computed = _computed_calls(transformer) if not speed.compile_blocks else None
        times = [wait(setup)]

        def after(state: Denoising) -> None:
            times.append(wait(setup))

        sampler.run(state, conditions, Watch(after=after))
    spent = [(b - a) / len(windows) for a, b in zip(times, times[1:], strict=False)]
    cached = speed.first_block_cache is not None
    row.seconds = statistics.fmean(spent) if cached else statistics.median(spent)
    row.total = row.seconds * setup.steps
    if cached and computed is not None:
        row.skipped = 1 - computed() / steps
    if not cached or row.skipped is not None:
        whole, block = flops(setup)
        share = row.skipped or 0.0
        work = whole * (1 - share) + block * share
        row.tera = work * (1 + (case.guidance > 1)) / row.seconds / 1e12


def _computed_calls(transformer: Any) -> Callable[[], int]:
    calls = []
    transformer.transformer_blocks[-1].ff.register_forward_hook(lambda *_: calls.append(1))
    return lambda: len(calls)


def measure_vae(setup: Setup, vae: VideoVae) -> list[dict[str, Any]]:
    """Seconds a frame, whole and in tiles."""
    tiling = Tiling() if setup.on_gpu else Tiling(4, 6, 2)
    found = []
    for name, tiles in (("whole", None), ("in tiles", tiling)):
        release(setup)
        vae.tiling = tiles
        clip = torch.rand((1, 3, setup.frames, setup.height, setup.width)) * 2 - 1

        def read(start: int, stop: int, clip: torch.Tensor = clip) -> torch.Tensor:
            return clip[:, :, start:stop]

        try:
            vae.encode(lambda start, stop: read(0, stop - start), 9)  # finds the kernels
            begin = wait(setup)
            latents = vae.encode(read, setup.frames)
            middle = wait(setup)
            for _ in vae.decode(latents[:, :, :3]):
                pass
            begin_decode = wait(setup)
            frames = sum(chunk.shape[1] for chunk in vae.decode(latents))
            end = wait(setup)
        except torch.OutOfMemoryError:
            found.append({"name": name, "trouble": "out of memory", "peak": peak(setup)})
            continue
        encode, decode = (middle - begin) / setup.frames, (end - begin_decode) / frames
        found.append({"name": name, "encode": encode, "decode": decode, "peak": peak(setup)})
    vae.tiling = None
    return found


def print_row(row: Row, best: float) -> None:
    if row.trouble:
        print(f"{row.name:30s} {row.trouble}")
        return
    memory = f"{row.peak:6.1f}" if row.peak is not None else "     -"
    skipped = f"{row.skipped:7.0%}" if row.skipped is not None else "      -"
    tera = f"{row.tera:8.3g} {row.tera / best:5.0%}" if row.tera else "       -     -"
    print(
        f"{row.name:30s} {row.ratio:6.2f} {row.seconds:9.4f} {row.total:9.2f} {row.once:8.1f} {tera} {memory} {skipped}"
    )


def arguments() -> tuple[Setup, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", help="height x width of the model, in pixels")
    parser.add_argument("--frames", type=int, help="of a window: 8k + 5")
    parser.add_argument("--layers", type=int, help="2 or more")
    parser.add_argument("--steps", type=int, help="of a run; with a cache all of them are run")
    parser.add_argument("--repeat", type=int, default=5, help="steps measured where there is no cache")
    parser.add_argument("--only", default="", help="cases whose name holds this, besides the plain one")
    parser.add_argument("--json", type=Path, help="write the results there, too")
    given = parser.parse_args()
    gpu = given.device == "cuda"
    height, width = (int(part) for part in (given.size or ("384x672" if gpu else "48x80")).split("x"))
    setup = Setup(
        given.device, height, width, given.frames or (85 if gpu else 13), given.layers or (42 if gpu else 4),
        given.steps or (30 if gpu else 10), given.repeat,
    )  # fmt: skip
    return setup, given


def print_vae(entries: list[dict[str, Any]]) -> None:
    print(f"\n{'VAE, ms a frame':30s} {'encode':>8s} {'decode':>8s} {'GB':>6s}")
    for entry in entries:
        memory = f"{entry['peak']:6.1f}" if entry["peak"] is not None else "     -"
        times = entry.get("trouble") or f"{1000 * entry['encode']:8.2f} {1000 * entry['decode']:8.2f}"
        print(f"{entry['name']:30s} {times} {memory}")


def facts(setup: Setup) -> dict[str, Any]:
    """What the table must be read with."""
    with torch.device("meta"):
        parameters = sum(p.numel() for p in transformer_kind(**setup.model).parameters())
    return {
        "machine": torch.cuda.get_device_name() if setup.on_gpu else platform.machine(),
        "torch": torch.__version__,
        "dtype": str(setup.dtype),
        "parameters": parameters,
        "tflop_per_call": flops(setup)[0] / 1e12,
        "ceiling_tflops": ceiling(setup),
        "setup": dataclasses.asdict(setup),
    }


def main() -> None:
    setup, given = arguments()
    if not setup.on_gpu:
        torch.set_num_threads(1)  # threads that wait for each other are slower than one at this size
    known = facts(setup)
    best = known["ceiling_tflops"]
    print(f"{known['machine']}, torch {known['torch']}, {known['dtype']}, random weights")
    print(f"{setup.height}x{setup.width}x{setup.frames}, {setup.layers} blocks, {known['parameters']:,} parameters")
    print(f"{known['tflop_per_call']:.4g} TFLOP a window and step; a large matrix product reaches {best:.4g} TFLOP/s")
    if not setup.on_gpu:
        print("TINY, ON A CPU: these numbers show that every path runs, and nothing else.")
    vae = random_vae(setup)
    vae_rows = measure_vae(setup, vae)
    vae.model.to("cpu")
    total = f"s/{setup.steps}"
    print(f"\n{'':30s} {'speed':>6s} {'s/step':>9s} {total:>9s} {'once s':>8s} {'TFLOP/s':>8s} {'of':>5s}", end="")
    print(f" {'GB':>6s} {'skipped':>7s}")
    rows: list[Row] = []
    for case in cases(setup):
        if rows and given.only not in case.name:
            continue
        row = measure(setup, case, vae)
        rows.append(row)
        row.ratio = rows[0].seconds / row.seconds if row.seconds else 0.0
        print_row(row, best)
        sys.stdout.flush()
    print_vae(vae_rows)
    if given.json:
        result = {**known, "rows": [dataclasses.asdict(row) for row in rows], "vae": vae_rows}
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
