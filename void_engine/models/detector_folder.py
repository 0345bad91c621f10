"""The detector Grounding DINO in the models' folder."""

from __future__ import annotations

from pathlib import Path

from void_client.errors import EngineUnavailable

from void_engine.models.catalogue import GROUNDING_DINO

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"


def find_detector(models_root: Path | None) -> Path:
    """The folder with its configuration, tokenizer and weights. Raises ``EngineUnavailable``: what to run to get it."""
    if models_root is None:
        raise EngineUnavailable(
            "No folder with models is set, and finding things by their names needs a detector's weights.",
            hint=f"`void models fetch {GROUNDING_DINO.name} --models DIR` fetches them; name the folder with --models, "
            "or in the server's setting `models`.",
        )
    folder = models_root / GROUNDING_DINO.folder
    try:
        lacking = [name for name in (CONFIG, TOKENIZER, WEIGHTS) if not (folder / name).is_file()]
    except OSError as error:
        raise EngineUnavailable(
            f"{folder} cannot be read ({error.strerror or error}).",
            hint="The user who runs VOID must be able to read the models' folder.",
            details={"models": str(models_root)},
        ) from error
    if lacking:
        raise EngineUnavailable(
            f"The detector has no weights: {folder / lacking[0]} is not there.",
            hint=f"`void models fetch {GROUNDING_DINO.name} --models {models_root}` fetches them.",
            details={"models": str(models_root)},
        )
    return folder
