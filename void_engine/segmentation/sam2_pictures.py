"""What both implementations of SAM 2.1 are given, and what is made of their answers.

Promises the published preprocessing (resized to the model's square without keeping the aspect, bilinear with
antialiasing, ImageNet's mean and deviation) without torchvision; one frame in memory, however long the clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional

from void_engine.segmentation import refine
from void_engine.segmentation.interface import Matte, Picture, Pictures, Prompt
from void_engine.segmentation.pictures import proxy_size, shrink

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_LONG_SIDE = 1024  # of the proxy that the edge is searched from: the model sees no more
_BESIDE, _ON, _FIRST_CORNER, _SECOND_CORNER = 0, 1, 2, 3  # the model's labels of points
_OFFSET = 1.0  # of logits, between which a mask's stability is judged, as SAM's own score does

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Said:
    """What was said of an object on one frame, in the model's terms.

    ``coordinates`` (1, P, 2) in the model's pixels, whose centres lie at whole numbers; ``labels`` (1, P). ``mask``
    (1, 1, S, S) of 0 and 1 takes their place. A click never becomes a box.
    """

    coordinates: torch.Tensor
    labels: torch.Tensor
    mask: torch.Tensor | None = None


@dataclass(frozen=True)
class Answer:
    """``logits`` (S/4, S/4): positive on the object. ``score``: a logit, positive where the object is seen."""

    logits: Logits
    score: float


class Frames:
    """The clip as the model wants it, and the last picture as it is."""

    def __init__(self, pictures: Pictures, size: int, device: torch.device) -> None:
        self._pictures = pictures
        self._size = size
        self._device = device
        self._held: tuple[int, Picture] | None = None

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def plate_size(self) -> tuple[int, int]:
        return self._pictures.size

    def __getitem__(self, position: int) -> torch.Tensor:
        return to_model(self.picture(position), self._size).to(self._device)

    def picture(self, position: int) -> Picture:
        if self._held is None or self._held[0] != position:
            self._held = position, self._pictures.rgb(position)
        return self._held[1]


def to_model(picture: Picture, size: int) -> torch.Tensor:
    """(3, size, size) float32, normalised."""
    values = torch.tensor(picture).permute(2, 0, 1)[None].to(torch.float32)
    square = functional.interpolate(values, (size, size), mode="bilinear", align_corners=False, antialias=True)[0]
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
    return (square / 255.0 - mean) / deviation


def said(prompt: Prompt, position: int, plate: tuple[int, int], size: int) -> Said:
    """What ``prompt`` says on that frame; ``plate`` is (height, width). Boxes of one frame are taken together."""
    sx, sy = size / plate[1], size / plate[0]
    points: list[tuple[float, float, int]] = []
    boxes = [box for box in prompt.boxes if box.position == position]
    if boxes:
        left, top = (max(0.0, min(values)) for values in ([b.x0 for b in boxes], [b.y0 for b in boxes]))
        right = min(float(plate[1]), max(b.x1 for b in boxes))
        bottom = min(float(plate[0]), max(b.y1 for b in boxes))
        # The model learned boxes by the first and the last pixel inside; it adds the half pixel itself.
        points += [(left * sx, top * sy, _FIRST_CORNER)]
        points += [(max(left * sx, right * sx - 1), max(top * sy, bottom * sy - 1), _SECOND_CORNER)]
    for click in prompt.clicks:
        if click.position == position:
            points.append((click.x * sx - 0.5, click.y * sy - 0.5, _ON if click.positive else _BESIDE))
    coordinates = torch.tensor([[point[:2] for point in points]], dtype=torch.float32).reshape(1, -1, 2)
    labels = torch.tensor([[point[2] for point in points]], dtype=torch.int64).reshape(1, -1)
    matte = prompt.mattes.get(position)
    return Said(coordinates, labels, None if matte is None else _mask(matte, size))


def _mask(matte: Matte, size: int) -> torch.Tensor:
    values = torch.tensor(matte, dtype=torch.float32)[None, None]
    square = functional.interpolate(values, (size, size), mode="bilinear", align_corners=False, antialias=True)
    peak = float(square.max())
    # A thing smaller than the model's pixel must not vanish: its brightest pixel stays.
    least = 0.5 if peak >= 0.5 or float(matte.max()) < 0.5 else peak
    return (square >= least).to(torch.float32)


def matte_of(answer: Answer, picture: Picture) -> Matte:
    """At the plate's size, its edge where the plate's is; empty where the object is not seen."""
    height, width = proxy_size(picture.shape[:2], _LONG_SIDE)
    # Logits are enlarged, not masks: the line where they cross zero stays smooth.
    logits = cv2.resize(answer.logits, (width, height), interpolation=cv2.INTER_LINEAR)
    soft = np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -32.0, 32.0))), np.float32)
    if not (soft > 0.5).any():
        return np.zeros(picture.shape[:2], np.float32)
    return refine.to_plate(picture, shrink(picture, _LONG_SIDE), soft)


def confidence(answer: Answer) -> float:
    """0 to 1: whether the object is seen, times how much its outline hangs on the threshold."""
    seen = 1.0 / (1.0 + float(np.exp(-np.clip(answer.score, -32.0, 32.0))))
    if answer.score <= 0:
        return seen
    wide = int(np.count_nonzero(answer.logits > -_OFFSET))
    return seen * int(np.count_nonzero(answer.logits > _OFFSET)) / wide if wide else 0.0
