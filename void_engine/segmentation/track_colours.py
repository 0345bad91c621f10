"""How an object's colours differ from what is around it: smooth histograms in CIE Lab."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.segmentation.interface import Picture
from void_engine.segmentation.track_prompt import Mask

Plane = npt.NDArray[np.float32]
Histogram = npt.NDArray[np.float32]  # (16, 32, 32): L, a, b; sums to 1
_BINS = (16, 32, 32)
_FLOOR = 1e-5  # share of a colour that was never seen


def lab(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB), np.uint8)


def codes(colours: Picture) -> npt.NDArray[np.int32]:
    """Each pixel's bin."""
    light, a, b = (colours[..., i].astype(np.int32) for i in range(3))
    return np.asarray((light >> 4) * 1024 + (a >> 3) * 32 + (b >> 3), np.int32)


def histogram(bins: npt.NDArray[np.int32], weight: npt.NDArray[Any]) -> Histogram:
    """Of the pixels, weighted; all zero where there are none."""
    counts = np.bincount(bins.ravel(), weight.ravel().astype(np.float64), minlength=16384).reshape(_BINS)
    soft = counts * 0.5
    for axis in range(3):
        near = np.pad(soft, [(1, 1) if i == axis else (0, 0) for i in range(3)])
        lower, upper = near.take(range(_BINS[axis]), axis), near.take(range(2, _BINS[axis] + 2), axis)
        soft = 0.5 * soft + 0.25 * (lower + upper)
    soft = soft + 0.5 * counts
    total = float(soft.sum())
    return np.asarray(soft / total if total > 0 else soft, np.float32)


def alike(one: Histogram, other: Histogram) -> float:
    """Bhattacharyya's coefficient: 1 for the same colours, 0 for none in common."""
    return float(np.sqrt(one.astype(np.float64) * other).sum())


def ratio(bins: npt.NDArray[np.int32], inside: Histogram, outside: Histogram) -> Plane:
    """Log of how much likelier the object is than its surroundings; within 4 either way."""
    table = np.log((inside + _FLOOR) / (outside + _FLOOR)).ravel()
    return np.asarray(np.clip(table, -4.0, 4.0)[bins], np.float32)


def ring(mask: Mask, width: float) -> Mask:
    """What lies around a mask, within ``width`` pixels."""
    if not mask.any():
        return np.zeros_like(mask)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray((away > 0) & (away <= width))


def edges(picture: Picture) -> Plane:
    """Strength of the edge at each pixel, 0 to 1: 0.5 where it is as strong as the picture's strong ones."""
    colours = cv2.GaussianBlur(lab(picture), (0, 0), 1.0).astype(np.float32)
    steep = np.zeros(picture.shape[:2], np.float32)
    for channel in cv2.split(colours):
        across, down = cv2.Sobel(channel, cv2.CV_32F, 1, 0), cv2.Sobel(channel, cv2.CV_32F, 0, 1)
        steep = np.maximum(steep, cv2.magnitude(across, down))
    strong = max(8.0, float(np.percentile(steep, 90)))
    return np.asarray(steep / (steep + np.float32(strong)), np.float32)
