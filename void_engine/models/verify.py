"""Whether the models' folder is what was fetched, without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from void_client.errors import EngineUnavailable, InputError, ModelError

from void_engine.models.catalogue import CATALOGUE, Model
from void_engine.models.folder import INDEX, PICKLED, find_models
from void_engine.models.hashing import sha256
from void_engine.models.lock import LockedFile, read_lock
from void_engine.models.weights import shapes

OK, UNKNOWN, WARNING, DAMAGED, MISSING = "ok", "unknown", "warning", "damaged", "missing"
BAD = frozenset({DAMAGED, MISSING})


@dataclass(frozen=True)
class Finding:
    """One file of the folder, or the folder itself. ``sha256`` is empty where it was not computed."""

    file: str
    state: str
    text: str
    size: int = 0
    sha256: str = ""


def verify(
    root: Path,
    catalogue: Sequence[Model] = CATALOGUE,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Iterator[Finding]:
    """One finding for each file, then one where the folder as a whole is not complete. Raises ``InputError`` where
    the folder or its lock cannot be read."""
    recorded = {place: entry for model in read_lock(root).values() for place, entry in model.files.items()}
    pinned = {model.place(file.name): file.sha256 for model in catalogue for file in model.files if file.sha256}
    places = _files(root)
    of, done = sum((root / place).stat().st_size for place in places), 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        progress("check", done // 10**6, of // 10**6)

    for place in sorted({*places, *recorded}):
        if place not in places:
            yield Finding(place, MISSING, "missing; it was fetched once", recorded[place].size)
        elif Path(place).suffix in PICKLED:
            yield Finding(place, WARNING, "pickled: VOID never opens it; remove it", (root / place).stat().st_size)
        else:
            yield _finding(root, place, recorded.get(place), pinned.get(place, ""), on_bytes)
    try:
        find_models(root)
    except EngineUnavailable as error:
        yield Finding(str(root), MISSING, error.message.rstrip("."))


def failure(findings: Sequence[Finding], root: Path) -> ModelError | None:
    """The error that the findings amount to, if any does."""
    bad = [finding for finding in findings if finding.state in BAD]
    if not bad:
        return None
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    return ModelError(
        f"The models in {root} cannot be used as they are: {bad[0].file}: {bad[0].text}{more}.",
        hint=f"`void models fetch --models {root}` fetches what is missing or damaged; or copy it again.",
        details={"files": [finding.file for finding in bad]},
    )


def _files(root: Path) -> list[str]:
    """Weights and pickles in the folder itself, everything in the folders of base models and of the lock."""
    try:
        tops = [path for path in root.iterdir() if not path.name.startswith(".")]
        found = [path for path in tops if path.is_file() and path.suffix in PICKLED | {".safetensors"}]
        folders = {name.split("/")[0] for model in read_lock(root).values() for name in model.files if "/" in name}
        for top in tops:
            if top.is_dir() and (top.name in folders or (top / INDEX).is_file()):
                found += [path for path in top.rglob("*") if path.is_file() and not _hidden(path, root)]
    except OSError as error:
        raise InputError(
            f"{error.filename or root} cannot be read ({error.strerror}).",
            hint="Name the models' folder with --models.",
            details={"models": str(root)},
        ) from error
    return [path.relative_to(root).as_posix() for path in found]


def _hidden(path: Path, root: Path) -> bool:
    """Parts of a fetch, and what the hub's own tools leave."""
    return any(name.startswith(".") for name in path.relative_to(root).parts)


def _finding(root: Path, place: str, recorded: LockedFile | None, pin: str, on_bytes: Callable[[int], None]) -> Finding:
    path = root / place
    size = path.stat().st_size
    if recorded is not None and size != recorded.size:
        return Finding(place, DAMAGED, f"{size} bytes, not the {recorded.size} that were fetched", size)
    if path.suffix == ".safetensors":
        try:
            shapes(path)
        except ModelError as error:
            return Finding(place, DAMAGED, f"not a whole safetensors file ({error.__cause__})", size)
    try:
        digest = sha256(path, on_bytes)
    except OSError as error:
        return Finding(place, DAMAGED, f"cannot be read ({error.strerror})", size)
    if recorded is not None and digest != recorded.sha256:
        return Finding(place, DAMAGED, "its bytes are not those that were fetched", size, digest)
    if pin == digest:
        return Finding(place, OK, "the pinned file", size, digest)
    if pin:
        return Finding(place, UNKNOWN, f"not the file that VOID is pinned to; SHA-256 {digest}", size, digest)
    if recorded is not None:
        return Finding(place, OK, "as fetched", size, digest)
    return Finding(place, UNKNOWN, f"not pinned; SHA-256 {digest}", size, digest)
