"""SAM 2.1 as Meta's package ``sam2`` has it, driven frame by frame: no folder of JPEGs, no pickled checkpoint.

Promises the same answers as `void_engine.segmentation.sam2_hf` from the same files, and as little memory.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional

from void_engine.segmentation.sam2_convert import check, load_config, load_tensors, meta_settings, to_meta
from void_engine.segmentation.sam2_pictures import Answer, Frames, Said

_SURE = 32.0  # of the logits that go back into the model, as Meta's predictor limits them
_SCALE, _BIAS = 20.0, -10.0  # from a mask to logits, as the model takes a given mask


class MetaModel:
    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises ``ModelError``."""
        config = load_config(folder)
        tensors = to_meta(load_tensors(folder))
        model = _instantiated(config)
        check(folder, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, tensors)
        model.load_state_dict(tensors, strict=True)
        self._model = model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)
        self.device = device
        self.size: int = config.image_size

    def trackers(self, frames: Frames, count: int, backwards: bool) -> list[MetaTracker]:
        """One for each object; they share each frame's features."""
        # What `init_state` makes, without reading a folder: `images` is asked for one frame at a time.
        state = {
            "images": frames,
            "num_frames": len(frames),
            "device": self.device,
            "storage_device": self.device,
            "cached_features": {},
            "constants": {},
        }
        return [MetaTracker(self._model, state, backwards) for _ in range(count)]


def _instantiated(config: Any) -> Any:
    # By name: none of the three need be there for the other backend, nor tell its types.
    omegaconf: Any = import_module("omegaconf").OmegaConf
    package = Path(import_module("sam2").__path__[0])
    published = omegaconf.load(package / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml")
    settings = omegaconf.merge(published["model"], meta_settings(config))
    return import_module("hydra.utils").instantiate(settings, _recursive_=True)


class MetaTracker:
    """One object, one way in time: `void_engine.segmentation.sam2.Tracker`."""

    def __init__(self, model: Any, state: dict[str, Any], backwards: bool) -> None:
        self._model = model
        self._state = state
        self._backwards = backwards
        self._outputs: dict[str, dict[int, dict[str, Any]]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
        self._reach = max(model.num_maskmem, model.max_obj_ptrs_in_encoder)

    @torch.inference_mode()
    def condition(self, position: int, said: Said) -> Answer:
        mask = None if said.mask is None else said.mask.to(self._model.device)
        points = None if mask is not None else self._points(said)
        out = self._run(position, initial=True, points=points, mask=mask)
        return self._conditioned(position, out, None if mask is None else mask * _SCALE + _BIAS)

    @torch.inference_mode()
    def track(self, position: int) -> Answer:
        out = self._run(position, remembered=True)
        self._outputs["non_cond_frame_outputs"][position] = out
        answer = _answer(out)
        self._trim(position)
        return answer

    @torch.inference_mode()
    def correct(self, position: int, said: Said) -> Answer:
        tracked = self.track(position)
        self._outputs["non_cond_frame_outputs"].pop(position)
        logits = torch.tensor(tracked.logits, device=self._model.device).clamp(-_SURE, _SURE)[None, None]
        out = self._run(position, points=self._points(said), previous=logits)
        return self._conditioned(position, out, None)

    def conditions(self) -> set[int]:
        return set(self._outputs["cond_frame_outputs"])

    def forget(self, position: int) -> None:
        self._outputs["cond_frame_outputs"].pop(position, None)

    def _run(
        self,
        position: int,
        *,
        initial: bool = False,
        remembered: bool = False,
        points: dict[str, torch.Tensor] | None = None,
        mask: torch.Tensor | None = None,
        previous: torch.Tensor | None = None,
    ) -> dict[str, Any]:
        out: dict[str, Any] = self._model._run_single_frame_inference(
            inference_state=self._state,
            output_dict=self._outputs,
            frame_idx=position,
            batch_size=1,
            is_init_cond_frame=initial,
            point_inputs=points,
            mask_inputs=mask,
            reverse=self._backwards and not initial,
            run_mem_encoder=remembered,
            prev_sam_mask_logits=previous,
        )[0]
        return out

    def _conditioned(self, position: int, out: dict[str, Any], high: torch.Tensor | None) -> Answer:
        if high is None:
            size = (self._model.image_size, self._model.image_size)
            high = functional.interpolate(out["pred_masks"], size, mode="bilinear", align_corners=False)
        score = out["object_score_logits"]
        memory = self._model._run_memory_encoder(self._state, position, 1, high, score, is_mask_from_pts=True)
        out["maskmem_features"], out["maskmem_pos_enc"] = memory
        self._outputs["cond_frame_outputs"][position] = out
        answer = _answer(out)
        self._trim(position)
        return answer

    def _points(self, said: Said) -> dict[str, torch.Tensor]:
        device = self._model.device
        return {"point_coords": said.coordinates.to(device), "point_labels": said.labels.to(device)}

    def _trim(self, position: int) -> None:
        tracked = self._outputs["non_cond_frame_outputs"]
        for other in [other for other in tracked if abs(position - other) >= self._reach]:
            del tracked[other]
        for outputs in self._outputs.values():
            for output in outputs.values():
                output.pop("pred_masks", None)
        for other, output in tracked.items():
            if abs(position - other) >= self._model.num_maskmem:  # only its pointer is looked at now
                output.pop("maskmem_features", None)
                output.pop("maskmem_pos_enc", None)


def _answer(out: dict[str, Any]) -> Answer:
    return Answer(
        out["pred_masks"][0, 0].float().cpu().numpy().copy(), float(out["object_score_logits"].reshape(-1)[0])
    )
