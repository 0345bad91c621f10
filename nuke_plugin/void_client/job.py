"""What people write (``ShotFile``) and what travels (``JobSpec``).

A ``ShotFile`` holds patterns and settings; ``resolve`` turns it into a ``JobSpec``, which holds
digests and no paths, and into a table of the files behind the digests. Both refuse unknown keys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Optional

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from . import schema
from .digest import sha256_data, sha256_file
from .errors import FrameError, InputError, JobError
from .frame_ref import FrameRef as FrameRef
from .mask_spec import AFFECTED_INPUT as AFFECTED_INPUT
from .mask_spec import BoxSpec as BoxSpec
from .mask_spec import ClickSpec as ClickSpec
from .mask_spec import MaskFile as MaskFile
from .mask_spec import MaskSpec as MaskSpec
from .mask_spec import check_ascending, check_finite
from .override_spec import MAX_OVERRIDES, OverrideSpec
from .overrides import Prepared, beside, read
from .sequence import FramePattern, format_frames, parse_frames, resolve_frames

SPEC_VERSION = 1
_NOT_SAID: tuple[tuple[str, Any], ...] = (("stop", ""), ("overrides", []), ("deliver", []))
OCIO_BUILTIN = "ocio://"
_EXR_MAGIC = b"\x76\x2f\x31\x01"
_JOB_ID = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def check_job_id(text: str) -> str:
    """A job id is the client's: 1 to 64 letters, digits, ``.``, ``_`` or ``-``. Raises ``JobError``."""
    if not _JOB_ID.match(text):
        raise JobError(f"{text[:80]!r} is not a job id.", hint="Use letters, digits, '.', '_' and '-'.")
    return text


@dataclass(frozen=True)
class PlateSpec:
    """``layer``: the RGB layer to clean, "" for R, G, B. ``colour_space``: the working space, by its name in the OCIO
    configuration ``ocio``; "" is scene-linear with Rec.709 primaries.

    ``ocio``: built in (``ocio://…``), the name of the file ``ocio_file``, or "" for the server's own.
    """

    frames: tuple[FrameRef, ...]
    layer: str = ""
    colour_space: str = ""
    ocio: str = ""
    ocio_file: Optional[FrameRef] = None

    def __post_init__(self) -> None:
        check_ascending(self.frames, "plate")
        if self.ocio and not self.ocio.startswith(OCIO_BUILTIN) and self.ocio_file is None:
            raise ValueError(f"the OCIO configuration {self.ocio!r} is neither built in (ocio://…) nor a file")


@dataclass(frozen=True)
class QuadmaskSpec:
    """A supplied quadmask: for every plate frame one frame of the same number."""

    frames: tuple[FrameRef, ...]

    def __post_init__(self) -> None:
        check_ascending(self.frames, "quadmask")


@dataclass(frozen=True)
class EngineSpec:
    name: str = "cleanplate"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, value in self.options.items():
            if not isinstance(value, (str, int, float, bool)):
                raise ValueError(f"the engine option {key!r} is neither text, number nor true or false")
        check_finite(self.options, "engine option")


@dataclass(frozen=True)
class JobSpec:
    """Everything that decides the pixels of a result, and the shot's name as a label.

    Either a supplied ``quadmask`` or ``masks``, from which one is worked out. ``stop``: "masks" ends with the
    quadmask, "review" waits there until it is approved. ``deliver``: the plate's frames that come back, where the
    others are context only; all without it.
    """

    plate: PlateSpec
    quadmask: Optional[QuadmaskSpec] = None
    engine: EngineSpec = EngineSpec()
    prompt: str = ""
    seed: int = 42
    shot: str = ""
    masks: Optional[MaskSpec] = None
    stop: str = ""
    overrides: tuple[OverrideSpec, ...] = ()
    deliver: tuple[int, ...] = ()
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        if self.version != SPEC_VERSION:
            raise ValueError(f"version {self.version} of the job specification; this side reads {SPEC_VERSION}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"the seed {self.seed} is not between 0 and 2^63")
        if self.stop not in ("", "masks", "review"):
            raise ValueError(f"a job does not stop at {self.stop!r}; it can at: masks, review")
        if (self.quadmask is None) == (self.masks is None):
            raise ValueError("give either a quadmask, or masks from which one is worked out")
        plate = {frame.number for frame in self.plate.frames}
        if self.quadmask is not None:
            lacking = plate ^ {frame.number for frame in self.quadmask.frames}
            if lacking:
                raise ValueError(f"plate and quadmask do not have the same frames: {min(lacking)} is in one only")
        if self.masks is not None:
            self.masks.check(plate)
        if len(self.overrides) > MAX_OVERRIDES:
            raise ValueError(f"more than {MAX_OVERRIDES} overrides")
        for override in self.overrides:
            if not plate.issuperset(override.frames):
                raise ValueError(f"the override {override.label} has a frame that the plate does not have")
        _check_delivered(self.deliver, plate)

    @classmethod
    def from_wire(cls, value: Any) -> JobSpec:
        """Raises ``JobError``."""
        return schema.load(cls, value, where="job", error=JobError)

    def to_wire(self) -> dict[str, Any]:
        """What is not there is left out: a side that does not know of it (masks, hints …) reads all other jobs."""
        written = schema.dump(self)
        for key, empty in (("ocio", ""), ("ocio_file", None)):
            if written["plate"][key] == empty:
                del written["plate"][key]
        if written["masks"] is not None and not written["masks"]["affected"]:
            del written["masks"]["affected"]
        for override in written["overrides"]:
            if not override["hint"]:
                del override["hint"]
        return {key: value for key, value in written.items() if value is not None and (key, value) not in _NOT_SAID}

    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON of all that decides the pixels: the label is left out."""
        unlabelled = tuple(replace(override, label="") for override in self.overrides)
        return sha256_data(replace(self, shot="", overrides=unlabelled).to_wire())

    @property
    def delivered(self) -> tuple[int, ...]:
        """The numbers of the frames that come back."""
        return self.deliver or tuple(frame.number for frame in self.plate.frames)

    def frame_refs(self) -> tuple[FrameRef, ...]:
        masks = self.quadmask.frames if self.quadmask is not None else ()
        mattes = self.masks.mattes + self.masks.affected if self.masks is not None else ()
        config = (self.plate.ocio_file,) if self.plate.ocio_file is not None else ()
        drawn = tuple(ref for each in self.overrides for ref in each.matte)
        return self.plate.frames + masks + mattes + drawn + config


@dataclass(frozen=True)
class Resolved:
    """A job and where its frames are: ``files`` by digest, ``names`` by (input, frame number)."""

    spec: JobSpec
    files: Mapping[str, Path]
    names: Mapping[tuple[str, int], Path]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShotFile:
    """A shot as people write it, in YAML or JSON. Relative paths count from the file's folder.

    ``frames``: "1001-1046"; without it all that are on disk. ``colour_space`` and ``ocio``: the plate's working space,
    and the OCIO configuration that knows it: built in (``ocio://…``), or an .ocioz or .ocio file. ``options``: the
    engine's own. Either ``quadmask``, or ``masks``, from which one is worked out. ``deliver``: "1009-1040", the frames
    that come back; the others are context. Or ``handles``: so many frames at both ends are. ``section``: whose entries
    of ``overrides`` count, a node's uuid or name; without it the file's own. ``out``: where the frames go; or
    ``store``, the project whose ``void`` folder takes them as a new version of ``node``, a VOID node's uuid, or
    ``results``, a folder in place of that one. ``link``: a second folder that shows the same files, whose name can be
    known before the version's.
    """

    plate: str
    quadmask: Optional[str] = None
    frames: Optional[str] = None
    engine: str = "cleanplate"
    options: dict[str, Any] = field(default_factory=dict)
    layer: str = ""
    colour_space: str = ""
    ocio: str = ""
    prompt: str = ""
    seed: int = 42
    shot: str = ""
    out: Optional[str] = None
    masks: Optional[MaskFile] = None
    overrides: Optional[str] = None
    deliver: Optional[str] = None
    handles: int = 0
    section: str = ""
    store: Optional[str] = None
    results: Optional[str] = None
    node: str = ""
    link: Optional[str] = None
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        if self.version != SPEC_VERSION:
            raise ValueError(f"version {self.version} of the shot file; this program reads {SPEC_VERSION}")
        if self.handles < 0 or (self.handles and self.deliver is not None):
            raise ValueError("give either `deliver`, or `handles`, a number of frames")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"the seed {self.seed} is not between 0 and 2^63")

    @classmethod
    def read(cls, path: Path) -> ShotFile:
        """Raises ``JobError`` naming the file, and the line where YAML finds a fault."""
        try:
            text = path.read_text(encoding="utf-8")
            value = YAML(typ="safe", pure=True).load(text)
        except (OSError, UnicodeDecodeError) as problem:
            raise JobError(f"The shot file {path} cannot be read: {problem}.", details={"file": str(path)}) from problem
        except YAMLError as problem:
            raise JobError(f"The shot file {path} is not YAML: {problem}", details={"file": str(path)}) from problem
        shot = schema.load(cls, value, where=f"shot file {path}", error=JobError)
        found = beside(path) if shot.overrides is None else None
        return replace(shot, overrides=found.name) if found is not None else shot

    def resolve(
        self,
        base: Path,
        on_progress: Callable[[int, int], None] | None = None,
        localised: Callable[[str], str] | None = None,
    ) -> Resolved:
        """Find and hash the files. Relative paths count from ``base``.

        Raises ``FrameError`` naming a missing, empty or unreadable file, ``JobError`` for a bad pattern.
        ``on_progress(done, of)`` is called per file, in this thread. ``localised``: a path of a sidecar as this
        machine has it; the shot's own are (`void_client.path_rules`).
        """
        wanted = parse_frames(self.frames) if self.frames else None
        plate = FramePattern.parse(self.plate, base)
        frames = resolve_frames(plate, wanted, kind="plate")
        deliver = self._delivered(frames)
        names = {("plate", n): plate.path(n) for n in frames}
        if self.quadmask is not None:
            quadmask = FramePattern.parse(self.quadmask, base)
            resolve_frames(quadmask, frames, kind="quadmask")
            names.update({("quadmask", n): quadmask.path(n) for n in frames})
        if self.masks is not None:
            names.update(self.masks.files(frames, base))
        prepared = Prepared()
        if self.overrides:
            sidecar = read(base / Path(self.overrides).expanduser(), uuid=self.section)
            if localised is not None:
                entries = [replace(e, matte=localised(e.matte)) if e.matte else e for e in sidecar.entries]
                sidecar = replace(sidecar, entries=tuple(entries))
            prepared = sidecar.prepare(frames, supplied=self.quadmask is not None)
        names.update(prepared.files)
        config = base / Path(self.ocio).expanduser() if self.ocio and not self.ocio.startswith(OCIO_BUILTIN) else None
        if config is not None:
            names["ocio", 0] = config
        refs = _hash_frames(names, on_progress)

        def found(kind: str) -> tuple[FrameRef, ...]:
            return tuple(refs[key] for key in names if key[0] == kind)

        masks = self.masks.resolve(found("matte"), base, found(AFFECTED_INPUT)) if self.masks is not None else None
        if masks is not None and prepared.words:
            masks = replace(masks, words="\n".join(filter(None, (masks.words, prepared.words))))
        try:
            spec = JobSpec(
                plate=PlateSpec(
                    frames=found("plate"),
                    layer=self.layer,
                    colour_space=self.colour_space,
                    ocio=config.name if config else self.ocio,
                    ocio_file=refs["ocio", 0] if config else None,
                ),
                quadmask=QuadmaskSpec(found("quadmask")) if self.quadmask is not None else None,
                engine=EngineSpec(self.engine, dict(self.options)),
                prompt=self.prompt,
                seed=self.seed,
                shot=self.shot or plate.folder.resolve().name,
                masks=masks,
                overrides=prepared.specs(refs),
                deliver=deliver,
            )
        except ValueError as problem:
            raise JobError(f"The shot: {problem}.", hint="docs/artist.md tells how a shot is written.") from problem
        return Resolved(spec, {refs[key].sha256: path for key, path in names.items()}, names, prepared.warnings)

    def _delivered(self, frames: tuple[int, ...]) -> tuple[int, ...]:
        """As `JobSpec` has it: nothing where all come back. Raises ``JobError``."""
        deliver = frames[self.handles : len(frames) - self.handles]
        if not deliver:
            raise JobError(
                f"Handles of {self.handles} frames at both ends leave nothing of the plate's {len(frames)} frames.",
                hint="Give fewer, or a longer plate.",
            )
        if self.deliver is not None:
            deliver = parse_frames(self.deliver)
            strange = sorted(set(deliver) - set(frames))
            if strange:
                raise JobError(
                    f"The delivered range {self.deliver} is not inside the plate: it lacks {format_frames(strange)}.",
                    hint=f"The plate has {format_frames(frames)}.",
                )
        return deliver if deliver != frames else ()


def _hash_frames(
    names: Mapping[tuple[str, int], Path], on_progress: Callable[[int, int], None] | None
) -> dict[tuple[str, int], FrameRef]:
    # Hashing releases the GIL: a few threads keep a fast disk busy.
    refs: dict[tuple[str, int], FrameRef] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for key, ref in zip(names, pool.map(_hash_frame, names.items())):
            refs[key] = ref
            if on_progress:
                on_progress(len(refs), len(names))
    return refs


def _hash_frame(item: tuple[tuple[str, int], Path]) -> FrameRef:
    (kind, number), path = item
    details = {"input": kind, "frame": number, "file": str(path)}
    called = f"{'affected matte' if kind == AFFECTED_INPUT else kind} frame {number}: {path}"
    again = "Render it again."
    if kind == "ocio":
        called, again = f"The OCIO configuration {path}", "Name an .ocio or .ocioz file."
    try:
        size = path.stat().st_size
        if size == 0:
            raise FrameError(f"{called} is empty.", hint=again, details=details)
        if kind == "plate":
            with path.open("rb") as stream:
                if stream.read(4) != _EXR_MAGIC:
                    raise FrameError(
                        f"plate frame {number}: {path} is not an EXR file.",
                        hint="Plates are EXR sequences: convert it, or point at the EXRs.",
                        details=details,
                    )
        return FrameRef(number, sha256_file(path), size)
    except OSError as problem:
        raise FrameError(
            f"{called} cannot be read: {problem.strerror}.",
            hint="Check the file and its permissions.",
            details=details,
        ) from problem


def _check_delivered(numbers: tuple[int, ...], plate: set[int]) -> None:
    if not plate.issuperset(numbers):
        raise ValueError(f"frame {min(set(numbers) - plate)} is to be delivered, which the plate does not have")
    if any(after <= before for before, after in zip(numbers, numbers[1:])):
        raise ValueError("the frames to be delivered are not ascending")
    if len(numbers) == len(plate):
        raise ValueError("all frames are delivered where none are named: leave them out")


def name_the_file(error: InputError, names: Mapping[tuple[str, int], Path]) -> None:
    """Add the path to an error that knows only input and frame number (the server knows digests, no paths)."""
    key = (str(error.details.get("input", "")), error.details.get("frame"))
    path = names.get(key)  # type: ignore[arg-type]
    if path is not None and "file" not in error.details:
        error.details["file"] = str(path)
        error.message = f"{error.message} The file is {path}."
