"""The ``void`` engine: the model in the product. It reads a clip, runs one pass or two, and writes clean frames.

Promises what `void_engine.interface.Engine` asks for: the same bits for the same clip and request however often it
was killed, memory that does not grow with the clip, a cancel within a step. Torch is imported when a job begins, not
before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from void_client.errors import EngineUnavailable, VoidError

from void_engine import models
from void_engine.diffusion import shot
from void_engine.diffusion.options import AREA, Options, read_options
from void_engine.diffusion.room import area_for
from void_engine.interface import CleanFrames, Clip, GenerateRequest, Host, Line, StageContext
from void_engine.restore.place import Made, place
from void_engine.restore.regions import Region, RegionClip, find_regions, whole
from void_engine.restore.scales import Scales

if TYPE_CHECKING:
    from void_engine.diffusion.pipeline import VoidPipeline
    from void_engine.diffusion.progress import Progress
    from void_engine.diffusion.run import Generated
    from void_engine.diffusion.spread import Hands

log = logging.getLogger(__name__)

_NEEDED = ("torch", "diffusers", "transformers", "accelerate", "sentencepiece", "safetensors")
_CACHE_BYTES = 4_000_000_000
# Steps between saves: a kill costs one step at most. A cache starts anew at each save, so it is given room to work.
_SAVE_EVERY, _SAVE_EVERY_CACHED = 1, 5
# How long the stages take, roughly, in thousandths of a pass: for one bar that moves evenly.
_SHARES = {"read": 40, "load": 20, "text": 20, "encode": 60, "noise": 30, "denoise": 780, "decode": 50}


class VoidEngine:
    """Implements `void_engine.interface.Engine`. Weights stay loaded from job to job."""

    name = "void"
    version = "3"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pipelines: dict[tuple[int, str], VoidPipeline] = {}

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with defaults filled in (`void_engine.diffusion.options.Options`); raises `JobError`.

        ``area`` is then a number, whoever chose it: it decides pixels, so it is in the stage's key and the metadata.
        """
        read = read_options(options)
        return asdict(read if read.area else replace(read, area=self._area(read)))

    def identity(self, options: Mapping[str, Any]) -> dict[str, str]:
        """The weights' digests and the number format. Raises ``EngineUnavailable``: what is missing, what to run."""
        _need_packages()
        found = models.find_models(self._host.models)
        cache = self._host.cache / "weights.json" if self._host.cache is not None else found.root / ".digests.json"
        digests = models.fingerprint(found, cache)
        passes = ["pass1", "pass2"] if options["passes"] == 2 else ["pass1"]
        if options["passes"] == 2:
            found.require_pass2()
        identity = {f"model.{name}": digests[name] for name in ("base", *passes)}
        identity["model.numbers"] = "float32" if self._host.device == "cpu" else "bfloat16"
        described = models.describe_weights(found)
        return {**identity, "model.note": described} if described else identity

    def affected(self, options: Mapping[str, Any]) -> str:
        """All of it: the model invents how things are without the object."""
        return "remove"

    def detail_options(self, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """How the plate's detail and grain are brought back: another choice does not generate anew."""
        return {key: options[key] for key in ("detail", "grain")}

    def _area(self, options: Options) -> float:
        """How many times the learned area a squeezed crop gets here."""
        memory = self._host.memory_bytes or _device_memory(self._host.device)
        if options.profile == "draft" or not memory:
            return 1.0
        return area_for(memory, self._host.memory, options.window_frames, options.copies, AREA)

    def warm_up(self) -> None:
        """Loads pass 1 and compiles it at the size of a 16:9 plate, where the server asked for compiled blocks."""
        if not self._host.compile_blocks or self._host.models is None:
            return
        options = read_options({})
        height, width = options.size_for(1080, 1920)
        self.pipeline(1, options, self.identity(asdict(options))).warm_up(height, width, options.window_frames)

    def generate(self, clip: Clip, request: GenerateRequest, out: CleanFrames, context: StageContext) -> dict[str, Any]:
        """Writes every frame that has a hole; returns what was done, for the manifest."""
        options = read_options(request.options)
        regions = _regions(clip, options, context)
        bar = _Bar(context, options.passes, len(regions))
        identity = self.identity(request.options)
        made, facts = [], []
        for index, region in enumerate(regions):
            bar.start(index)
            work = _Work(self, RegionClip(clip, region), request, options, region, context, bar, identity, index)
            made.append(work.run())
            facts.append(work.facts())
        place(clip, made, request.shaper.to_light, out, lambda _: context.check())
        bar.finish()
        if self._host.cache is not None:
            _trim(self._host.cache / "tensors", _CACHE_BYTES)
        return {"area": max(1.0, options.area), "regions": facts, "scales": Scales.of(regions).to_facts()}

    def pipeline(self, number: int, options: Options, identity: dict[str, str]) -> VoidPipeline:
        """Pass ``number``'s model, loaded; the other pass's is let go unless the device holds both with ease."""
        import torch

        from void_engine.diffusion.pipeline import VoidPipeline
        from void_engine.diffusion.speed import Speed

        speed = Speed(
            batch_windows=options.batch_windows,
            attention=self._host.attention,
            compile_blocks=self._host.compile_blocks,
            first_block_cache=options.first_block_cache or None,
        )
        key = (number, f"{sorted(identity.items())} {speed}")
        if key in self._pipelines:
            return self._pipelines[key]
        self._let_go(number)
        found = models.find_models(self._host.models)
        checkpoint = found.pass1 if number == 1 else found.require_pass2()
        log.info("loading %s", checkpoint)
        self._pipelines[key] = VoidPipeline.from_pretrained(
            found.base,
            checkpoint,
            dtype=torch.float32 if self._host.device == "cpu" else torch.bfloat16,
            device=self._host.device,
            memory=self._host.memory,
            cache_dir=self._host.cache / "tensors" if self._host.cache is not None else None,
            identity=identity["model.base"],
            speed=speed,
        )
        return self._pipelines[key]

    def hands(self, number: int, options: Options, identity: dict[str, str]) -> Hands | None:
        """Who may help with pass ``number``, and what `help` must know there to load the same model."""
        from void_engine.diffusion.spread import Hands

        if self._host.helpers is None:
            return None
        known = {"passes": options.passes, "batch_windows": options.batch_windows}
        return Hands(self._host.helpers, {"pass": number, "options": known, "identity": identity})

    def help(self, line: Line) -> None:
        """Windows of another process's job, through the same weights. Raises ``ConnectionError`` at the end."""
        header, data = line.receive()
        try:
            _need_packages()
            model = header["model"]
            options = read_options({**model["options"], "area": 1.0})
            identity = self.identity(asdict(options))
            if identity != model["identity"]:
                raise EngineUnavailable("The weights here are others.")
            pipeline = self.pipeline(model["pass"], options, identity)
        except VoidError as problem:
            line.send({"kind": "refused", "why": str(problem)})
            return
        from void_engine.diffusion.helping import serve

        serve(pipeline, header, data, line)

    def _let_go(self, number: int) -> None:
        """Weights of this pass with other settings go; those of the other pass, too, unless all is on the device."""
        from void_engine.diffusion.memory import release_memory

        for key, pipeline in list(self._pipelines.items()):
            if key[0] == number or not pipeline.residency.mode.startswith("full"):
                del self._pipelines[key]
                release_memory(pipeline.residency.device)


class _Work:
    """The passes over one region of a job."""

    def __init__(
        self,
        engine: VoidEngine,
        clip: Clip,
        request: GenerateRequest,
        options: Options,
        region: Region,
        context: StageContext,
        bar: _Bar,
        identity: dict[str, str],
        index: int,
    ) -> None:
        self._engine, self._clip, self._request, self._options = engine, clip, request, options
        self._region, self._context, self._bar, self._identity = region, context, bar, identity
        self._folder = context.scratch / f"region{index}"
        self._folder.mkdir(exist_ok=True)
        self._notes: list[str] = []
        self._held: dict[str, Any] = {}
        self._helped: set[str] = set()

    def run(self) -> Made:
        """The region's frames as the model made them, from the scratch folder where a killed run had finished them."""
        frames, masks = shot.prepare(
            self._clip,
            self._region.model_size,
            self._request.shaper,
            self._folder,
            lambda done, of: self._bar.tell("read", done / of),
        )
        result = shot.FrameStore(self._folder / "made", len(frames))
        motion = None
        for number in range(1, self._options.passes + 1):
            self._bar.begin(number)
            pipeline, generated = self._generate(number, frames, masks, motion)
            last = number == self._options.passes
            kept = result if last else shot.FrameStore(self._folder / "motion", generated.frames)
            self._keep(pipeline, generated, kept, in_bytes=not last)
            motion = kept
            self._note(pipeline)
        return Made(self._region, result, frames, masks)

    def facts(self) -> dict[str, Any]:
        """For the manifest: where the model worked, at what size and how it was held."""
        x, y = (int(value) for value in self._region.corners[0])
        return {
            "crop": [x, y, self._region.size[1], self._region.size[0]],
            "moves": self._region.moves,
            "model_size": [self._region.model_size[1], self._region.model_size[0]],
            **self._held,
            **({"helped_by": sorted(self._helped)} if self._helped else {}),
            "notes": self._notes,
        }

    def _generate(
        self, number: int, frames: shot.FrameStore, masks: shot.FrameStore, motion: shot.FrameStore | None
    ) -> tuple[VoidPipeline, Generated]:
        """One pass's latents: from the scratch folder, where a killed run had finished them."""
        from void_engine.diffusion.cache import TensorCache
        from void_engine.diffusion.request import Request
        from void_engine.diffusion.resume import Resume
        from void_engine.diffusion.run import Extras, Generated

        options = self._options
        self._bar.tell("load", 0.0)
        pipeline = self._engine.pipeline(number, options, self._identity)
        finished = TensorCache(self._folder)
        known = finished.get("latents", number)
        if known is not None:
            return pipeline, Generated(known["latents"], len(frames))
        folder = self._folder / f"pass{number}"
        folder.mkdir(exist_ok=True)
        height, width = self._region.model_size
        request = Request(
            prompt=self._request.prompt,
            negative_prompt=options.negative_prompt,
            height=height,
            width=width,
            steps=options.steps if number == 1 else options.steps_2,
            guidance=options.guidance if number == 1 else options.guidance_2,
            pass_number=number,
            window_frames=options.window_frames,
            overlap_frames=options.overlap_frames,
            seed=self._request.seed,
        )
        every = _SAVE_EVERY_CACHED if options.first_block_cache else _SAVE_EVERY
        hands = self._engine.hands(number, options, self._identity)
        extras = Extras(motion=motion, callback=self._bar.progress, resume=Resume(folder, every), hands=hands)
        generated = pipeline.generate(frames, masks, request, extras)
        self._helped.update(hands.names if hands is not None else ())
        finished.put("latents", number, {"latents": generated.latents})
        return pipeline, generated

    def _keep(self, pipeline: VoidPipeline, generated: Generated, kept: shot.FrameStore, *, in_bytes: bool) -> None:
        """The decoded frames; pass 2 follows pass 1's in eight bits. Decoded again unless all of them are there."""
        if all(kept.has(position) for position in range(len(kept))):
            return
        for position, frame in pipeline.decode(generated, self._bar.progress):
            kept.write(position, (frame * 255.0 + 0.5).astype(np.uint8) if in_bytes else frame)
            self._context.check()

    def _note(self, pipeline: VoidPipeline) -> None:
        self._notes += pipeline.residency.notes
        facts = pipeline.residency.facts()
        if "peak_gb" in facts:
            facts["peak_gb"] = max(facts["peak_gb"], self._held.get("peak_gb", 0.0))
        self._held = facts


class _Bar:
    """One bar for all regions and passes, in thousandths of a pass, with a note of what is being done."""

    def __init__(self, context: StageContext, passes: int, regions: int) -> None:
        self._context, self._passes, self._regions = context, passes, regions
        self._region, self._pass = 0, 1

    def start(self, region: int) -> None:
        self._region, self._pass = region, 1

    def begin(self, number: int) -> None:
        self._pass = number

    def finish(self) -> None:
        of = 1000 * self._passes * max(1, self._regions)
        self._context.progress(of, of, "")

    def tell(self, stage: str, share: float, note: str = "") -> None:
        """Raises ``Cancelled``."""
        before = 0
        for name, length in _SHARES.items():
            if name == stage:
                break
            before += length
        done = before + int(_SHARES[stage] * min(1.0, share))
        passed = self._region * self._passes + self._pass - 1
        label = f"region {self._region + 1} of {self._regions}, " if self._regions > 1 else ""
        label += f"pass {self._pass}, " if self._passes > 1 else ""
        label = f"{label[:-2]}: " if label else ""
        of = 1000 * self._passes * self._regions
        self._context.progress(1000 * passed + done, of, label + (note or _NOTES[stage]))

    def progress(self, progress: Progress) -> None:
        """`void_engine.diffusion.progress.Callback`."""
        note = ""
        if progress.stage == "denoise":
            note = f"step {progress.step} of {progress.steps}"
            if progress.windows > 1:
                note += f", window {progress.window + 1} of {progress.windows}"
        self.tell(progress.stage, progress.done / max(1, progress.of), note)


def _regions(clip: Clip, options: Options, context: StageContext) -> tuple[Region, ...]:
    """Where the model works, and at what size. Raises ``Cancelled``."""
    if not options.crop:
        square = max(1, round(clip.canvas.width * clip.pixel_aspect))
        found: tuple[Region, ...] = (whole(clip, options.size_for(clip.canvas.height, square)),)
    else:
        found = find_regions(clip, options.size_for, lambda _: context.check())
    return tuple(replace(each, model_size=options.enlarged(each.model_size, each.scale)) for each in found)


_NOTES = {
    "read": "reading the plate",
    "load": "loading the model",
    "text": "reading the prompt",
    "encode": "encoding the plate",
    "noise": "following the motion",
    "denoise": "denoising",
    "decode": "decoding the frames",
}


def _device_memory(device: str) -> int:
    """All bytes of a GPU; 0 where there is none, or no torch: `identity` tells that."""
    if device == "cpu":
        return 0
    try:
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    except (ImportError, RuntimeError, AssertionError):  # the last: a torch that was built without CUDA
        return 0


def _need_packages() -> None:
    """Raises ``EngineUnavailable``. Looks for the packages, loads none."""
    from importlib.util import find_spec

    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        raise EngineUnavailable(
            f"The engine void cannot run here: it lacks {', '.join(lacking)}.",
            hint="On the server: pip install 'void-nuke[server,engine]', with the torch of its CUDA version first.",
        )


def _trim(folder: Path, limit: int) -> None:
    """Drop the longest unused tensors until the rest fits."""
    try:
        files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except FileNotFoundError:
        return
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > limit:
            path.unlink(missing_ok=True)
