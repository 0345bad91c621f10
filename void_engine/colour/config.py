"""Which OCIO configuration a job's colour spaces are named in.

Promises: a configuration is given by name or by file, never by the ``OCIO`` variable of whoever started the
process; its digest is one of content, equal on every machine; OCIO is imported only when a configuration is
asked for. Must not touch pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from void_client.errors import EngineUnavailable, JobError

# The studio configuration has the cameras' log spaces, which the CG one has not. This version of it knows every
# space name of the studio and CG configurations of OCIO 2.2 to 2.4, is in every OCIO from 2.4 on and, being named
# exactly, never changes. ``ocio://default`` does: it is another configuration, of another ACES, in each OCIO.
DEFAULT: Final = "ocio://studio-config-v2.2.0_aces-v1.3_ocio-v2.4"
BUILTIN: Final = "ocio://"
SCENE_ROLE: Final = "aces_interchange"
DISPLAY_ROLE: Final = "cie_xyz_d65_interchange"
_SUFFIXES: Final = (".ocio", ".ocioz")
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class ColourConfig:
    """``name`` holds no path. ``digest``, 64 hex digits: the identity of the content; two equal ones are one config."""

    name: str
    digest: str
    handle: Any = field(repr=False, compare=False)  # PyOpenColorIO.Config, never changed after loading

    def spaces(self) -> tuple[str, ...]:
        """The colour spaces that the configuration shows to its users, in its order."""
        return tuple(self.handle.getColorSpaceNames())

    def scene_linear(self) -> tuple[str, ...]:
        """Those of `spaces` that say they are scene-linear; else the one that the role of that name points to."""
        named = [name for name in self.spaces() if self.handle.getColorSpace(name).getEncoding() == "scene-linear"]
        role = self.handle.getColorSpace("scene_linear")
        return tuple(named) or ((role.getName(),) if role is not None else ())


def ocio() -> Any:
    """The PyOpenColorIO module. Raises `EngineUnavailable` where it is not installed."""
    try:
        import PyOpenColorIO
    except ImportError as problem:
        raise EngineUnavailable(
            "Naming a colour space needs the opencolorio package, which is not installed here.",
            hint="Install it on the server: pip install 'void-nuke[plates]'.",
            details={"package": "opencolorio"},
        ) from problem
    return PyOpenColorIO


def failures() -> tuple[type[Exception], ...]:
    """What OCIO raises: in Python the two are no kin."""
    library = ocio()
    return (library.Exception, library.ExceptionMissingFile)


def load(source: str = "") -> ColourConfig:
    """``source``: "" for `DEFAULT`, ``ocio://…`` for one built into OCIO, or the path of an .ocio or .ocioz file.

    Raises `JobError` with ``details`` {"key": "ocio"}. A file is read again at each call.
    """
    source = source or DEFAULT
    return _builtin(source) if source.startswith(BUILTIN) else _file(Path(source))


def _builtin(source: str) -> ColourConfig:
    library = ocio()
    try:
        # "ocio://default" and "…-latest" are other configurations in each OCIO: the exact name is what is kept.
        exact = str(library.ResolveConfigPath(source))
        handle = library.Config.CreateFromBuiltinConfig(exact[len(BUILTIN) :])
    except failures() as problem:
        names = [BUILTIN + entry[0] for entry in library.BuiltinConfigRegistry().getBuiltinConfigs()]
        raise refused(
            f"OpenColorIO {library.__version__} has no built-in configuration {source!r}.",
            hint=f"It has {', '.join(names)}.",
        ) from problem
    # Its text and cacheID differ between OCIO versions, its meaning does not: the name is the identity.
    return ColourConfig(exact, hashlib.sha256(exact.encode()).hexdigest(), handle)


def _file(path: Path) -> ColourConfig:
    library = ocio()
    if path.suffix.lower() not in _SUFFIXES:
        raise refused(
            f"{str(path)!r} is neither an OCIO configuration's file (.ocio, .ocioz) nor a built-in one (ocio://…).",
            hint=f"Name one of these, or leave it out for {DEFAULT}.",
        )
    try:
        content = _sha256(path)
    except OSError as problem:
        raise refused(
            f"The OCIO configuration {path} cannot be read: {problem.strerror}.",
            hint="Check the path as the server sees it, and its permissions.",
        ) from problem
    library.ClearAllCaches()  # they are by path: a LUT that was replaced on disk would still be the old one
    try:
        handle = library.Config.CreateFromFile(str(path))
    except failures() as problem:
        raise _unreadable(path, str(problem), str(library.__version__)) from problem
    digest = content if path.suffix.lower() == ".ocioz" else _with_luts(content, handle)
    return ColourConfig(handle.getName() or path.name, digest, handle)


def _unreadable(path: Path, problem: str, version: str) -> JobError:
    if "is not able to load that config version" in problem:
        return refused(
            f"The OCIO configuration {path} is of a newer version than OpenColorIO {version} reads: {problem}",
            hint="Update opencolorio on the server, or save the configuration for an older OCIO.",
        )
    return refused(
        f"The OCIO configuration {path} cannot be read: {problem}",
        hint="Check it with `ociocheck`.",
    )


def lut_files(config: ColourConfig) -> tuple[str, ...]:
    """The LUT files that a configuration names."""
    return tuple(sorted(set(_lut_names(config.handle))))


def _with_luts(content: str, handle: Any) -> str:
    """OCIO's own cacheID leaves out what the LUT files hold; a LUT that is not there counts as such."""
    context = handle.getCurrentContext()
    absent: tuple[type[Exception], ...] = (*failures(), OSError)
    whole = hashlib.sha256(content.encode())
    for name in sorted(set(_lut_names(handle))):
        try:
            lut = _sha256(Path(context.resolveFileLocation(name)))
        except absent:
            lut = "missing"  # only a job that needs it is refused
        whole.update(f"\n{name}\n{lut}".encode())
    return whole.hexdigest()


def _lut_names(handle: Any) -> Iterator[str]:
    for transform in _transforms(handle):
        yield from _files_of(transform)


def _transforms(handle: Any) -> Iterator[Any]:
    library = ocio()
    spaces = handle.getColorSpaces(library.SEARCH_REFERENCE_SPACE_ALL, library.COLORSPACE_ALL)
    for space in spaces:
        yield from map(space.getTransform, (library.COLORSPACE_DIR_TO_REFERENCE, library.COLORSPACE_DIR_FROM_REFERENCE))
    views = (library.VIEWTRANSFORM_DIR_TO_REFERENCE, library.VIEWTRANSFORM_DIR_FROM_REFERENCE)
    for view in handle.getViewTransforms():
        yield from map(view.getTransform, views)
    for look in handle.getLooks():
        yield from (look.getTransform(), look.getInverseTransform())


def _files_of(transform: Any) -> Iterator[str]:
    library = ocio()
    if isinstance(transform, library.FileTransform):
        yield str(transform.getSrc())
    elif isinstance(transform, library.GroupTransform):
        children: Iterable[Any] = transform
        for child in children:
            yield from _files_of(child)


def _sha256(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            whole.update(block)
    return whole.hexdigest()


def refused(message: str, hint: str, **details: Any) -> JobError:
    """What every refusal of a configuration is."""
    return JobError(message, hint=hint, details={"key": "ocio", **details})
