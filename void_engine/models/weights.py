"""What a safetensors file's header says. No tensor is loaded."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

from void_client.errors import EngineUnavailable, ModelError


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor name → shape. Raises ``ModelError`` where the file is not a whole safetensors file."""
    need("safetensors", "numpy")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        # The library checks that header, offsets and the file's length agree: a cut file ends here.
        raise ModelError(
            f"{path} is not a whole safetensors file ({error}).",
            hint="It was cut short or changed: `void models fetch` fetches it again; or copy it again.",
            details={"file": str(path)},
        ) from error


def parameters(path: Path) -> int:
    return sum(math.prod(shape) for shape in shapes(path).values())


def need(*packages: str) -> None:
    """Raises ``EngineUnavailable`` where one is not installed. Loads none."""
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    if lacking:
        raise EngineUnavailable(
            f"This needs {' and '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not installed here.",
            hint=f"pip install {' '.join(lacking)}",
        )
