"""Upstream's recorded tensors and tiny checkpoints under ``../shared/reference``."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
CASES = ("pass1_single_window", "pass1_multidiffusion", "pass1_33ch_adapted", "pass2_cfg")


@dataclass(frozen=True)
class Case:
    """``arguments`` as upstream was called, ``tensors`` by the names of the reference's README."""

    arguments: dict[str, Any]
    tensors: dict[str, np.ndarray]
    checkpoint: Path
    base: Path


def reference_folder() -> Path | None:
    """Where the recorded tensors lie, or None; raises under CI where they are missing."""
    folder = REPOSITORY.parent / "shared" / "reference"
    if (folder / "tiny-base" / "model_index.json").is_file():
        return folder
    if os.environ.get("CI", "").lower() == "true":
        raise FileNotFoundError(f"the reference is missing from {folder}, and CI must not skip its tests")
    return None


def read_case(name: str) -> Case:
    folder = reference_folder()
    assert folder is not None
    arguments = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
        tensors = {key: archive[key] for key in archive.files}
    return Case(arguments, tensors, folder / arguments["checkpoint"], folder / "tiny-base")
