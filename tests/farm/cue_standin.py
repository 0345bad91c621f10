"""What of OpenCue a job meets, in small: cuebot's reading of a specification, its frames and tokens, a host's shell.

After cuebot's ``JobSpec``, ``CueUtil.normalizeFrameRange``, ``DispatchSupportService`` and RQD's ``runLinux``, written
anew. One frame at a time, here. It is no cuebot: nothing is queued, booked or retried.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree
from void_client.sequence import parse_frames

DTDS = Path(__file__).with_name("opencue")
VERSIONS = ("1.12", "1.13", "1.15", "1.16")
NAME = re.compile(r"^([\w.]{3,})$", re.ASCII)


def validated(text: str, version: str) -> etree._Element:
    """The specification's root; ``AssertionError`` where it is not one of this version."""
    root = etree.fromstring(text.encode(), etree.XMLParser(no_network=True, load_dtd=False, resolve_entities=False))
    dtd = etree.DTD(str(DTDS / f"cjsl-{version}.dtd"))
    assert dtd.validate(root), dtd.error_log.filter_from_errors()
    return root


def conformed_job(show: str, shot: str, user: str, name: str) -> str:
    """As cuebot names the job; ``AssertionError`` where it refuses."""
    prefix = f"{show}-{shot}-{user}_"
    suffix = name[len(prefix) - 1 :] if name.startswith(prefix) else name
    suffix = re.sub("_{2,}", "_", suffix.lower()).replace("-", "_")
    assert NAME.match(suffix), suffix
    return f"{prefix.rstrip('_')}_{suffix.lstrip('_')}".lower()


def conformed(name: str) -> str:
    """A shot's or layer's name, and a tag."""
    plain = name.replace("-", "_").lower()
    assert NAME.match(plain), name
    return plain


@dataclass(frozen=True)
class Layer:
    name: str
    command: str
    numbers: tuple[int, ...]
    chunk: int
    environment: Mapping[str, str]
    gpus: int = 0
    after: tuple[str, ...] = ()

    def starts(self) -> tuple[int, ...]:
        """The number of each of its frames: every chunk's first."""
        return self.numbers[:: self.chunk]

    def said(self, start: int, *, old: bool = False) -> str:
        """The command of a frame. ``old``: of a cuebot before the fix of #1320."""
        chunk = self.numbers[self.numbers.index(start) :][: self.chunk]
        end = start + self.chunk - 1 if old else chunk[-1]
        tokens = {"ZFRAME": f"{start:04d}", "IFRAME": start, "FRAME_START": start, "FRAME_END": end,
                  "FRAME_CHUNK": self.chunk, "LAYER": self.name, "FRAME": f"{start:04d}-{self.name}"}  # fmt: skip
        command = self.command
        for token, value in tokens.items():
            command = command.replace(f"#{token}#", str(value))
        return command


@dataclass(frozen=True)
class Frame:
    """One that ran."""

    layer: str
    number: int
    code: int
    log: str


@dataclass
class Cue:
    """A job, as cuebot has it after the launch."""

    name: str
    layers: tuple[Layer, ...]
    ran: list[Frame] = field(default_factory=list)

    @classmethod
    def launched(cls, text: str) -> Cue:
        root = validated(text, re.findall(r"cjsl-([\d.]+)\.dtd", text)[0])
        show, shot, user = (_text(root, key) for key in ("show", "shot", "user"))
        assert user != "root"
        assert _text(root, "uid") != "0"
        (job,) = root.findall("job")
        name = conformed_job(show, conformed(shot), user, str(job.get("name")))
        after: dict[str, tuple[str, ...]] = {}
        for depend in root.findall("depends/depend"):
            assert depend.get("type") == "LAYER_ON_LAYER"
            for key in ("depjob", "onjob"):
                assert conformed_job(show, conformed(shot), user, _text(depend, key)) == name
            waits, on = (conformed(_text(depend, key)) for key in ("deplayer", "onlayer"))
            after[waits] = (*after.get(waits, ()), on)
        layers = tuple(_layer(job, each, after) for each in job.findall("layers/layer"))
        names = [layer.name for layer in layers]
        assert len(set(names)) == len(names)
        assert {on for waits in after.values() for on in waits} <= set(names)
        return cls(name, layers)

    def run(self, environment: Mapping[str, str]) -> bool:
        """Every frame once, in the order of the dependencies; a layer whose frames fail keeps the others waiting."""
        done: set[str] = set()
        waiting = list(self.layers)
        while ready := [layer for layer in waiting if set(layer.after) <= done]:
            for layer in ready:
                waiting.remove(layer)
                frames = [self._frame(layer, start, environment) for start in layer.starts()]
                self.ran += frames
                if all(frame.code == 0 for frame in frames):
                    done.add(layer.name)
        return not waiting and len(done) == len(self.layers)

    def _frame(self, layer: Layer, start: int, environment: Mapping[str, str]) -> Frame:
        """As RQD: a file with the command, without a first line that names a shell, run from the folder for temporary
        files by ``/usr/bin/time``, which hands such a file to ``sh``."""
        given = {**environment, **layer.environment, "CUE_FRAME": f"{start:04d}-{layer.name}"}
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "rqd-cmd"
            script.write_text(layer.said(start), encoding="utf-8")
            done = subprocess.run(
                ["/bin/sh", str(script)], env=given, cwd=folder, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
            )  # fmt: skip
        return Frame(layer.name, start, done.returncode, done.stdout)


def _layer(job: etree._Element, element: etree._Element, after: Mapping[str, tuple[str, ...]]) -> Layer:
    name = conformed(str(element.get("name")))
    for tag in _text(element, "tags").replace(" ", "").split("|"):
        assert not tag or NAME.match(tag), tag
    keys = [*job.findall("env/key"), *element.findall("env/key")]
    return Layer(
        name,
        _text(element, "cmd"),
        parse_frames(_text(element, "range")),
        int(_text(element, "chunk")),
        {str(key.get("name")): (key.text or "").strip() for key in keys},
        int(_text(element, "gpus") or 0),
        after.get(name, ()),
    )


def _text(element: etree._Element, key: str) -> str:
    return (element.findtext(key) or "").strip()


def plain_environment(**more: str) -> dict[str, str]:
    """A host's, without what belongs to the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOID_", "CUE_", "NUKE_"))}
    return {**kept, **more}
