"""The denoising loop: windows of latents through the transformer, one scheduler each, blended after every step.

Shapes: latents (1, F, 16, h, w) float32; condition (1, F, 32, h, w), mask then video; embeds (B, 226, D), the
negative prompt first where guidance needs it. Must not know where weights lie or how frames become latents.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed

from void_engine.diffusion.geometry import PATCH, Window, ramps
from void_engine.diffusion.loading import Scheduler, Transformer
from void_engine.diffusion.speed import Speed
from void_engine.diffusion.spread import Spread

Rotary = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Conditions:
    """``guidance`` 1 takes one embedding; above, two: negative and positive."""

    latents: torch.Tensor
    embeds: torch.Tensor
    guidance: float


@dataclass
class Denoising:
    """A run between two steps: all that is needed to go on. ``step`` steps are done."""

    latents: torch.Tensor
    schedulers: tuple[Scheduler, ...]
    step: int = 0
    clean: torch.Tensor | None = None  # the picture as predicted by the last step, where asked for


@dataclass(frozen=True)
class Watch:
    """``before(step, window)`` each call of the transformer, ``after(state)`` each step; both may raise.

    ``first_output(output, timestep)`` is given the very first call's result.
    """

    before: Callable[[int, int], None] = lambda step, window: None
    after: Callable[[Denoising], None] = lambda state: None
    first_output: Callable[[torch.Tensor, torch.Tensor], None] | None = None
    want_clean: Callable[[int], bool] = lambda step: False


@dataclass
class Sampler:
    """The transformer with its windows; ``speed`` says how many go through it together, ``spread`` who helps."""

    transformer: Transformer
    windows: tuple[Window, ...]
    device: torch.device
    dtype: torch.dtype
    speed: Speed
    spread: Spread | None = None
    _rotary: dict[int, Rotary] = field(default_factory=dict)

    def start(self, latents: torch.Tensor, scheduler: Scheduler, steps: int) -> Denoising:
        """Before the first step. Every window has a scheduler of its own: some remember earlier steps."""
        self.speed.start(self.transformer, self.device, self.dtype)
        scheduler.set_timesteps(steps)
        # For 61 steps and some other numbers the stock classes' rounding adds one more, at -1: back to pure noise.
        scheduler.timesteps = scheduler.timesteps[scheduler.timesteps >= 0]
        schedulers = tuple(copy.deepcopy(scheduler) for _ in self.windows)
        return Denoising(latents.to(self.device) * float(scheduler.init_noise_sigma), schedulers)

    @torch.no_grad()
    def run(self, state: Denoising, conditions: Conditions, watch: Watch) -> torch.Tensor:
        """All steps that are left; the final latents."""
        try:
            return self._run(state, conditions, watch)
        finally:
            self.forget()  # the caches are large, and whatever comes next needs the room

    def _run(self, state: Denoising, conditions: Conditions, watch: Watch) -> torch.Tensor:
        weights = [torch.from_numpy(weight).to(self.device) for weight in ramps(self.windows)]
        timesteps = state.schedulers[0].timesteps
        for step in range(state.step, len(timesteps)):
            latents = torch.zeros_like(state.latents)
            clean = torch.zeros_like(state.latents) if watch.want_clean(step + 1) else None
            for index, output in self._outputs(state, conditions, timesteps[step], step, watch):
                window, shape = self.windows[index], (1, -1, 1, 1, 1)
                part = state.latents[:, window.start : window.stop]
                moved = state.schedulers[index].step(output, timesteps[step], part)
                weight = weights[index].view(shape)
                latents[:, window.start : window.stop] += weight * moved.prev_sample
                if clean is not None:  # solvers with memory tell no clean picture: theirs is the latents
                    shown = getattr(moved, "pred_original_sample", moved.prev_sample)
                    clean[:, window.start : window.stop] += weight * shown
            state.latents, state.step, state.clean = latents, step + 1, clean
            watch.after(state)
        return state.latents

    def _outputs(
        self, state: Denoising, conditions: Conditions, timestep: torch.Tensor, step: int, watch: Watch
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Each window's prediction (1, n, 16, h, w), in order."""

        def here(group: Sequence[int], done: int) -> list[torch.Tensor]:
            watch.before(step, done)
            first = step == 0 and group[0] == 0
            return self._predict(group, state, conditions, timestep, watch.first_output if first else None)

        groups = self._groups()
        if self.spread is None or len(groups) == 1:
            for group in groups:
                yield from zip(group, here(group, group[0]), strict=True)
            return
        look = lambda done: watch.before(step, done)  # noqa: E731
        outputs = self.spread.step(groups, self.windows, state.latents.cpu(), timestep, here, look)
        for index in range(len(self.windows)):
            yield index, outputs[index].to(self.device)

    def _groups(self) -> list[list[int]]:
        groups: list[list[int]] = []
        for index, window in enumerate(self.windows):
            same = groups and self.windows[groups[-1][0]].length == window.length
            if same and len(groups[-1]) < self.speed.batch_windows:
                groups[-1].append(index)
            else:
                groups.append([index])
        return groups

    def _predict(
        self,
        group: Sequence[int],
        state: Denoising,
        conditions: Conditions,
        timestep: torch.Tensor,
        tell: Callable[[torch.Tensor, torch.Tensor], None] | None,
    ) -> list[torch.Tensor]:
        parts = [slice(self.windows[index].start, self.windows[index].stop) for index in group]
        noisy = [state.latents[:, part] for part in parts]
        given = [conditions.latents[:, part] for part in parts]
        return self.call(noisy, given, conditions.embeds, conditions.guidance, timestep, group[0], tell)

    def call(
        self,
        noisy: Sequence[torch.Tensor],
        given: Sequence[torch.Tensor],
        embeds: torch.Tensor,
        guidance: float,
        timestep: torch.Tensor,
        index: int = 0,
        tell: Callable[[torch.Tensor, torch.Tensor], None] | None = None,
    ) -> list[torch.Tensor]:
        """Windows of one length through the transformer together: ``noisy`` (1, n, 16, h, w) and ``given``
        (1, n, 32, h, w) of each. ``index``: the first one's, for the cache."""
        copies = len(embeds)
        joined = [torch.cat(pair, dim=2).to(self.dtype) for pair in zip(noisy, given, strict=True)]
        hidden = torch.cat([each.expand(copies, -1, -1, -1, -1) for each in joined])
        times = timestep.to(self.device).expand(len(hidden))
        with self.speed.window(self.transformer, index):
            output = self.transformer(
                hidden_states=hidden,
                encoder_hidden_states=embeds.repeat(len(noisy), 1, 1),
                timestep=times,
                image_rotary_emb=self.rotary(hidden.shape[1], *hidden.shape[-2:]),
                return_dict=False,
            )[0].float()
        if tell is not None:
            tell(output[:copies], times[:copies])
        return [_guided(part, guidance) for part in output.split(copies)]

    def forget(self) -> None:
        """Empty the caches that carry over from step to step."""
        self.speed.forget(self.transformer)

    def rotary(self, latents: int, height: int, width: int) -> Rotary:
        """Rotary embeddings of a window; time starts at 0 in every window, as it did when the model learned.

        Positions are counted, not stretched ("slice"), and may go beyond the configuration's sample size.
        """
        if latents not in self._rotary:
            config = self.transformer.config
            grid = (height // PATCH, width // PATCH)
            base = (config.sample_height // PATCH, config.sample_width // PATCH)
            cosine, sine = get_3d_rotary_pos_embed(
                embed_dim=config.attention_head_dim,
                crops_coords=None,
                grid_size=grid,
                temporal_size=latents // PATCH,
                grid_type="slice",
                max_size=(max(grid[0], base[0]), max(grid[1], base[1])),
                device=self.device,
            )
            self._rotary[latents] = (cosine, sine)
        return self._rotary[latents]


def _guided(output: torch.Tensor, guidance: float) -> torch.Tensor:
    """Classifier-free guidance: away from the negative prompt."""
    if len(output) == 1:
        return output
    negative, positive = output.chunk(2)
    return negative + guidance * (positive - negative)
