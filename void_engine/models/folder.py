"""The models' folder: fetched and made by hand alike.

``void_pass1.safetensors``, ``void_pass2.safetensors`` (may be missing) and one folder, of any name, that holds a
``model_index.json``: the base. Weights are safetensors; a base that has pickled weights only is refused. The base's
own transformer may be missing but for its configuration: VOID's passes replace it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from void_client.errors import EngineUnavailable

PASS1, PASS2 = "void_pass1.safetensors", "void_pass2.safetensors"
INDEX = "model_index.json"
PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_WEIGHTS = {"transformer": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_OPTIONAL = frozenset({"transformer"})
_NEEDED = (
    INDEX,
    "scheduler/scheduler_config.json",
    "tokenizer/spiece.model",
    *(f"{part}/config.json" for part in _WEIGHTS),
)


@dataclass(frozen=True)
class ModelFolder:
    root: Path
    base: Path
    pass1: Path
    pass2: Path | None

    def require_pass2(self) -> Path:
        if self.pass2 is None:
            raise _unavailable(f"{PASS2} is not in {self.root}.", self.root)
        return self.pass2

    def base_files(self) -> list[Path]:
        """What of the base is used, sorted by name. Raises ``EngineUnavailable`` where it is not whole."""
        try:
            files = {self.base / name for name in _NEEDED}
            files.update(path for path in (self.base / "tokenizer").iterdir() if path.is_file())
            for part, stem in _WEIGHTS.items():
                files.update(_weights(self.root, self.base / part, stem))
        except OSError as error:
            raise _unreadable(self.root, error) from error
        return sorted(files, key=lambda path: path.relative_to(self.base).as_posix())


def find_models(root: Path | None) -> ModelFolder:
    """What is in the folder. Raises ``EngineUnavailable``: what is missing where, and how to get it."""
    if root is None:
        raise EngineUnavailable(
            "No folder with VOID's models is set.",
            hint="`void models fetch --models DIR` fetches them; name the folder with --models, or in the server's "
            "setting `models`.",
        )
    try:
        base = _find_base(root)
        for name in _NEEDED:
            if not (base / name).is_file():
                raise _unavailable(f"The base model {base} is not complete: it lacks {name}.", root)
        if not (root / PASS1).is_file():
            raise _unavailable(f"{PASS1} is not in {root}.", root)
        second = root / PASS2
        models = ModelFolder(root, base, root / PASS1, second if second.is_file() else None)
    except OSError as error:
        raise _unreadable(root, error) from error
    models.base_files()
    return models


def bases(root: Path) -> list[Path]:
    """The folders that call themselves a base. Raises ``OSError``."""
    return sorted(path for path in root.iterdir() if not path.name.startswith(".") and (path / INDEX).is_file())


def _find_base(root: Path) -> Path:
    if not root.is_dir():
        raise _unavailable(f"The models' folder {root} is not there.", root)
    found = bases(root)
    if not found:
        raise _unavailable(f"There is no base model in {root}: no folder in it has a {INDEX}.", root)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise EngineUnavailable(
            f"{root} holds {len(found)} base models: {names}.",
            hint="Keep the one that VOID was trained from; move the others out of the folder.",
            details={"models": str(root)},
        )
    return found[0]


def _weights(root: Path, part: Path, stem: str) -> Iterator[Path]:
    """The safetensors of one part: one file, or the shards that its index names."""
    whole, index = part / f"{stem}.safetensors", part / f"{stem}.safetensors.index.json"
    if whole.is_file():
        yield whole
        return
    if not index.is_file():
        pickled = next((path.name for path in sorted(part.iterdir()) if path.suffix in PICKLED), "")
        if pickled:
            raise _unavailable(f"{part} holds {pickled} but no {whole.name}: only safetensors are loaded.", root)
        if part.name in _OPTIONAL:
            return
        raise _unavailable(f"The weights {whole} are missing.", root)
    yield index
    for name in sorted(shard_names(index)):
        if not (part / name).is_file():
            raise _unavailable(f"The weights {part / name} are missing; {index.name} names them.", root)
        yield part / name


def shard_names(index: Path) -> set[str]:
    """Raises ``EngineUnavailable`` where the index is no index, or names what is not a safetensors beside it."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineUnavailable(f"{index} is not an index of safetensors.", hint="Fetch or copy it again.") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise EngineUnavailable(
                f"{index} names {str(name)[:80]!r}: only safetensors beside it are loaded.",
                hint="Fetch or copy the base model again.",
            )
    return names


def _unavailable(message: str, root: Path) -> EngineUnavailable:
    return EngineUnavailable(
        message,
        hint=f"`void models fetch --models {root}` fetches what is missing; or name another folder with --models or "
        "in the server's setting `models`.",
        details={"models": str(root)},
    )


def _unreadable(root: Path, error: OSError) -> EngineUnavailable:
    return EngineUnavailable(
        f"{error.filename or root} cannot be read ({error.strerror or error}).",
        hint="The user who runs VOID must be able to read the models' folder.",
        details={"models": str(root)},
    )
