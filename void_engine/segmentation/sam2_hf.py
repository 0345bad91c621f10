"""SAM 2.1 as `transformers` has it, without its processors: those need torchvision.

Promises that a tracker holds what the memory attention can still reach, and no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceCache, Sam2VideoInferenceSession

from void_engine.segmentation.sam2_convert import check, load_config, load_tensors
from void_engine.segmentation.sam2_pictures import Answer, Frames, Said

_OBJECT, _INDEX = 1, 0  # each session follows one object
_SURE = 32.0  # of the logits that go back into the model, as Meta's predictor limits them


class TransformersModel:
    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises ``ModelError``."""
        config = load_config(folder)
        tensors = load_tensors(folder)
        model: Any = Sam2VideoModel(config)
        check(folder, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, tensors)
        # Copied, not assigned: how a file's bytes lie in memory would change the last bits of the answers.
        model.load_state_dict(tensors, strict=True)
        self._model = model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)
        self.device = device
        self.size: int = config.image_size

    def trackers(self, frames: Frames, count: int, backwards: bool) -> list[HfTracker]:
        """One for each object; they share each frame's features."""
        cache = Sam2VideoInferenceCache(self.device, self.device)
        return [HfTracker(self._model, frames, backwards, cache) for _ in range(count)]


class _Session(Sam2VideoInferenceSession):
    """Frames are made when asked for, and not kept."""

    def __init__(self, frames: Frames, device: torch.device, cache: Sam2VideoInferenceCache) -> None:
        height, width = frames.plate_size
        super().__init__(
            video_height=height,
            video_width=width,
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=torch.float32,
        )
        self._frames = frames
        self.cache = cache
        self.obj_id_to_idx(_OBJECT)

    @property
    def num_frames(self) -> int:
        return len(self._frames)

    def get_frame(self, frame_idx: int) -> torch.Tensor:
        return self._frames[frame_idx]


class HfTracker:
    """One object, one way in time: `void_engine.segmentation.sam2.Tracker`."""

    def __init__(self, model: Any, frames: Frames, backwards: bool, cache: Sam2VideoInferenceCache) -> None:
        self._model = model
        self._backwards = backwards
        self._session = _Session(frames, model.device, cache)
        self._reach = max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder)
        self._places: torch.Tensor | None = None  # of the memory's pixels: the same on every frame

    @property
    def _outputs(self) -> dict[str, dict[int, dict[str, Any]]]:
        found: dict[str, dict[int, dict[str, Any]]] = self._session.output_dict_per_obj[_INDEX]
        return found

    def condition(self, position: int, said: Said) -> Answer:
        session = self._session
        if said.mask is not None:
            session.add_mask_inputs(_INDEX, position, said.mask)
        else:
            session.add_point_inputs(_INDEX, position, _points(said))
        session.obj_with_new_inputs = [_OBJECT]
        out = self._model(session, frame_idx=position)
        session.remove_mask_inputs(_INDEX, position)
        session.remove_point_inputs(_INDEX, position)
        self._trim(position)
        return _answer(out.pred_masks, out.object_score_logits)

    def track(self, position: int) -> Answer:
        out = self._model(self._session, frame_idx=position, reverse=self._backwards)
        self._trim(position)
        return _answer(out.pred_masks, out.object_score_logits)

    @torch.inference_mode()
    def correct(self, position: int, said: Said) -> Answer:
        tracked = self.track(position)
        self._outputs["non_cond_frame_outputs"].pop(position)
        logits = torch.tensor(tracked.logits, device=self._model.device).clamp(-_SURE, _SURE)[None, None]
        # The class's own `forward` has no way in for the tracked mask, which the model learned corrections with.
        out = self._model._run_single_frame_inference(
            inference_session=self._session,
            frame_idx=position,
            obj_idx=_INDEX,
            batch_size=1,
            is_init_cond_frame=False,
            point_inputs={key: value.to(self._model.device) for key, value in _points(said).items()},
            mask_inputs=None,
            reverse=self._backwards,
            prev_sam_mask_logits=logits,
        )
        self._session.store_output(_INDEX, position, output_value=out, is_conditioning_frame=True)
        score = out["object_score_logits"]
        self._model._batch_encode_memories(self._session, position, [_INDEX], [out["high_res_masks"]], [score], [True])
        self._trim(position)
        return _answer(out["pred_masks"], score)

    def conditions(self) -> set[int]:
        return set(self._outputs["cond_frame_outputs"])

    def forget(self, position: int) -> None:
        self._outputs["cond_frame_outputs"].pop(position, None)

    def _trim(self, position: int) -> None:
        tracked = self._outputs["non_cond_frame_outputs"]
        for other in [other for other in tracked if abs(position - other) >= self._reach]:
            del tracked[other]
        for outputs in self._outputs.values():
            for output in outputs.values():
                output.pop("high_res_masks", None)
                output.pop("pred_masks", None)
                if "maskmem_pos_enc" in output:
                    self._places = output["maskmem_pos_enc"] if self._places is None else self._places
                    output["maskmem_pos_enc"] = self._places
        for other, output in tracked.items():
            if abs(position - other) >= self._model.config.num_maskmem:  # only its pointer is looked at now
                output.pop("maskmem_features", None)
                output.pop("maskmem_pos_enc", None)
        self._session.frames_tracked_per_obj[_INDEX].clear()


def _points(said: Said) -> dict[str, torch.Tensor]:
    return {"point_coords": said.coordinates[None], "point_labels": said.labels[None]}


def _answer(masks: torch.Tensor, score: torch.Tensor) -> Answer:
    return Answer(masks[0, 0].float().cpu().numpy().copy(), float(score.reshape(-1)[0]))
