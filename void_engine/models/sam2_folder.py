"""SAM 2.1 in the models' folder."""

from __future__ import annotations

from pathlib import Path

from void_client.errors import EngineUnavailable

from void_engine.models.catalogue import SAM2

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def find_sam2(models_root: Path | None) -> Path:
    """The folder with SAM 2.1's configuration and weights. Raises ``EngineUnavailable``: what to run to get it."""
    if models_root is None:
        raise EngineUnavailable(
            "No folder with models is set, and the segmenter sam2 needs its weights.",
            hint="`void models fetch sam2 --models DIR` fetches them; name the folder with --models, or in the "
            "server's setting `models`. The segmenter track needs none.",
        )
    folder = models_root / SAM2.folder
    try:
        lacking = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    except OSError as error:
        raise EngineUnavailable(
            f"{folder} cannot be read ({error.strerror or error}).",
            hint="The user who runs VOID must be able to read the models' folder.",
            details={"models": str(models_root)},
        ) from error
    if lacking:
        raise EngineUnavailable(
            f"The segmenter sam2 has no weights: {folder / lacking[0]} is not there.",
            hint=f"`void models fetch sam2 --models {models_root}` fetches them. The segmenter track needs none.",
            details={"models": str(models_root)},
        )
    return folder
