"""What a solve needs to know, frozen on the main thread and handed to the thread that does the work. Pure: no nuke.

`NodeSettings` is the node's knobs, `Sources` the files that go in, `shot_of` both as a `ShotFile` with absolute paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Optional

from void_client.errors import InputError
from void_client.job import MaskFile, ShotFile
from void_client.overrides import for_node, load_text
from void_client.result_store import NodeStore
from void_client.sequence import format_frames
from void_client.settings import ClientSettings

from .clicks import Clicks
from .messages import failure

REASON, MATTES, QUADMASK = "reason masks", "use mattes", "quadmask override"
DRAFT: Final[Mapping[str, Mapping[str, Any]]] = {
    "cleanplate": {"search_frames": 8, "fill_size": 336},
    "void": {"profile": "draft"},
}
"""Engine → the options that make a draft: quick, with the same seed as the final."""


@dataclass(frozen=True)
class NodeSettings:
    """The node's knobs, and where it stands. Paths are absolute; ``project`` is the folder above ``void``."""

    uuid: str
    name: str
    script: str
    project: Path
    shot: str
    mode: str = REASON
    prompt: str = ""
    draft: bool = False
    review: bool = True
    clicks: Clicks = field(default_factory=Clicks)
    handles: int = 0
    grow: int = 0
    feather: int = 0
    override_file: str = ""
    endpoint: str = ""
    engine: str = "cleanplate"
    segmenter: str = "track"
    reasoner: str = "motion"
    words: str = ""
    seed: int = 42
    steps: int = 0
    priority: int = 50


@dataclass(frozen=True)
class Sources:
    """Frame patterns of what goes in. ``frames``: the plate's numbers; ``deliver``: those that come back."""

    plate: str
    frames: tuple[int, ...]
    deliver: tuple[int, ...]
    matte: str = ""
    affected: str = ""
    quadmask: str = ""
    layer: str = ""
    colour_space: str = ""
    ocio: str = ""


@dataclass(frozen=True)
class Order:
    """One solve. ``looked``: the node's fingerprint when it was ordered (`void_nuke.staleness`).

    ``review``: stop at the quadmask. ``patient``: wait for a server that is away; else raise. ``base``: the folder of
    the version whose frames are solved again, ``masks``: the pattern of their quadmasks; empty for a whole result.
    """

    settings: NodeSettings
    shot: ShotFile
    store: NodeStore
    server: ClientSettings
    looked: str = ""
    review: bool = False
    patient: bool = True
    base: str = ""
    masks: str = ""


def shot_of(settings: NodeSettings, sources: Sources) -> ShotFile:
    """The node as a shot file. Raises ``InputError`` where it says nothing to remove."""
    if settings.mode == QUADMASK and not sources.quadmask:
        raise failure("no_quadmask")
    overrides, section = overrides_of(settings)
    inner = sources.deliver != sources.frames
    try:
        return ShotFile(
            plate=sources.plate,
            frames=format_frames(sources.frames),
            deliver=format_frames(sources.deliver) if inner else None,
            engine=settings.engine,
            options=engine_options(settings),
            layer=sources.layer,
            colour_space=sources.colour_space,
            ocio=sources.ocio,
            prompt=settings.prompt.strip(),
            seed=settings.seed,
            shot=settings.shot,
            overrides=str(overrides) if overrides is not None else "",
            section=section,
            quadmask=sources.quadmask if settings.mode == QUADMASK else None,
            masks=None if settings.mode == QUADMASK else _masks(settings, sources),
        )
    except ValueError as problem:
        raise InputError(f"The node cannot be solved: {problem}.") from problem


def engine_options(settings: NodeSettings) -> dict[str, Any]:
    options: dict[str, Any] = dict(DRAFT.get(settings.engine, {})) if settings.draft else {}
    if settings.engine == "void" and settings.steps > 0:
        options["steps"] = settings.steps
    return options


def overrides_of(settings: NodeSettings) -> tuple[Optional[Path], str]:
    """The node's sidecar and the key of its section there; None where it has none. Raises ``JobError``."""
    if settings.override_file:
        path: Optional[Path] = Path(settings.override_file)
    elif settings.script:
        path = for_node(Path(settings.script), uuid=settings.uuid, name=settings.name).path
    else:
        path = None
    if path is None:
        return None, ""
    return path, section_in(path, settings.uuid, settings.name)


def section_in(path: Path, uuid: str, name: str) -> str:
    """Which key of the sidecar is the node's: its uuid, else its name, else none. Raises ``JobError``."""
    try:
        document = load_text(path.read_text(encoding="utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"The overrides {path} cannot be read: {problem}.", hint="Check the file.") from problem
    keys = document if isinstance(document, dict) else {}
    return next((key for key in (uuid, name) if key and key in keys), "")


def _masks(settings: NodeSettings, sources: Sources) -> MaskFile:
    clicks = settings.clicks.on(set(sources.frames))
    alone = settings.mode == MATTES
    if alone and not sources.matte:
        raise failure("no_matte")
    if not clicks and not sources.matte:
        raise failure("no_object")
    options = {key: value for key, value in (("grow", settings.grow), ("feather", settings.feather)) if value}
    return MaskFile(
        clicks=() if alone else clicks.clicks,
        boxes=() if alone else clicks.boxes,
        matte=sources.matte or None,
        affected=sources.affected or None,
        segmenter=settings.segmenter,
        reasoner="none" if alone else settings.reasoner,
        words=settings.words.strip(),
        options=options,
    )
