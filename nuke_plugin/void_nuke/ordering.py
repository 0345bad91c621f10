"""From the node as it stands to an `Order`: the last thing that happens on the main thread before a solve's thread."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from void_client.job import ShotFile
from void_client.result_store import NodeStore
from void_client.studio import PluginSettings, client_settings, load_plugin_settings

from . import exports, plate, staleness
from .messages import failure
from .node import VoidNode
from .order import MATTES, QUADMASK, NodeSettings, Order, Sources, shot_of


def order_of(
    node: VoidNode,
    *,
    frames: Optional[tuple[int, int]] = None,
    draft: Optional[bool] = None,
    review: Optional[bool] = None,
    patient: bool = True,
) -> Order:
    """All that a solve needs. Exports what has to be: that blocks. ``frames``, ``draft``, ``review``: instead of the
    node's own. Raises ``VoidError`` in the artist's words."""
    plate.check_session()
    studio = load_plugin_settings(os.environ)
    server = client_settings(studio, os.environ, node.text("endpoint").strip())
    settings = settings_of(node)
    if draft is not None:
        settings = replace(settings, draft=draft)
    store = store_of(node, studio)
    looked = staleness.look(node)  # before the export: a plate that is rendered again meanwhile is another one
    shot = shot_of(settings, _sources(node, settings, store, studio, frames))
    wants_review = node.flag("review") if review is None else review
    return Order(
        settings,
        shot,
        store,
        server,
        looked=looked,
        review=wants_review and settings.mode != QUADMASK,
        patient=patient,
    )


def settings_of(node: VoidNode) -> NodeSettings:
    """The knobs. Raises ``InputError`` where the script has no place."""
    script = plate.script_path()
    return NodeSettings(
        uuid=node.uuid or node.new_uuid(),
        name=node.name,
        script=script,
        project=plate.project_of(),
        shot=plate.shot_name(),
        mode=node.text("mode"),
        prompt=node.text("prompt"),
        draft=node.text("quality") == "draft",
        review=node.flag("review"),
        clicks=node.clicks,
        handles=node.number("handles"),
        grow=node.number("grow"),
        feather=node.number("feather"),
        override_file=_evaluated(node, "override_file"),
        endpoint=node.text("endpoint").strip(),
        engine=node.text("engine"),
        segmenter=node.text("segmenter"),
        reasoner=node.text("reasoner"),
        words=node.text("words"),
        seed=node.number("seed"),
        steps=node.number("steps"),
        priority=min(100, max(0, node.number("priority"))),
    )


def store_of(node: VoidNode, studio: Optional[PluginSettings] = None) -> NodeStore:
    """Where this node's results lie: where it solved first, where the shown one is, if that is this node's; else by
    project, shot and uuid."""
    for home in _homes(node):
        if home.name == node.uuid and home.is_dir():
            return NodeStore(home)
    settings = load_plugin_settings(os.environ) if studio is None else studio
    results = Path(settings.results) if settings.results else None
    return NodeStore.of(plate.project_of(), plate.shot_name(), node.uuid, results)


def _homes(node: VoidNode) -> list[Path]:
    kept, shown = node.text("void_home"), node.text("result_file")
    return [*([Path(kept)] if kept else []), *([Path(shown).parent.parent] if shown else [])]


def shot_file(node: VoidNode) -> ShotFile:
    """The node as a shot file with absolute paths. Exports what has to be."""
    return order_of(node, review=False).shot


def _sources(
    node: VoidNode,
    settings: NodeSettings,
    store: NodeStore,
    studio: PluginSettings,
    wanted: Optional[tuple[int, int]],
) -> Sources:
    source = plate.plate_of(node)
    plate.check_views(source)
    plate.check_fits(node, source)
    _check_masks(node, settings)
    found = plate.range_of(node, source, wanted)
    working = plate.colour()
    half = exports.half_is_enough(source, studio.export_pixels)
    how = exports.Export(store.exports, half)
    pattern = plate.untouched_files(source, found.frames) or exports.export(
        node, exports.PLATE, source, found.frames, how
    )
    drawn = {kind: _mask(node, kind, index, settings, found.frames, how) for kind, index in _wanted(settings)}
    return Sources(
        plate=pattern,
        frames=found.frames,
        deliver=found.deliver,
        matte=drawn.get(exports.PRIMARY, ""),
        affected=drawn.get(exports.AFFECTED, ""),
        quadmask=drawn.get(exports.QUADMASK, ""),
        colour_space=working.space,
        ocio=working.ocio,
    )


def _wanted(settings: NodeSettings) -> tuple[tuple[str, int], ...]:
    """Which mask inputs count in this mode."""
    if settings.mode == QUADMASK:
        return ((exports.QUADMASK, 3),)
    return ((exports.PRIMARY, 1), (exports.AFFECTED, 2))


def _check_masks(node: VoidNode, settings: NodeSettings) -> None:
    """Told before minutes of export are spent."""
    if settings.mode == QUADMASK:
        if node.node.input(3) is None:
            raise failure("no_quadmask")
    elif node.node.input(1) is None:
        if settings.mode == MATTES:
            raise failure("no_matte")
        if not settings.clicks:
            raise failure("no_object")


def _mask(
    node: VoidNode, kind: str, index: int, settings: NodeSettings, frames: tuple[int, ...], how: exports.Export
) -> str:
    source: Any = node.node.input(index)
    if source is None:
        return ""
    channel = "" if kind == exports.QUADMASK else node.text(f"{kind}_channel")
    if kind == exports.QUADMASK:
        untouched = plate.untouched_files(source, frames)
        if untouched:
            return untouched
    return exports.export(node, kind, source, frames, exports.Export(how.folder), channel)


def _evaluated(node: VoidNode, name: str) -> str:
    """A file knob with Tcl and the project directory worked out."""
    text = str(node.node[name].evaluate() or "").strip()
    if text and not os.path.isabs(text):
        text = str(plate.project_of() / text)
    return text
