"""A session of Nuke's stand-in with the plugin, a project on disk, and servers that a module's tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[3]
for _folder in (_ROOT / "nuke_plugin", _ROOT / "tests" / "nuke_standin", Path(__file__).parent):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from small_shots import Server, point, point_at, write_plate  # noqa: E402 - after the path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that the module's tests share."""
    with Server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pattern of a small plate. Read only."""
    return write_plate(tmp_path_factory.mktemp("plate"))


class Artist:
    """What a person does: puts down nodes, clicks, presses buttons, waits for what the node says."""

    def __init__(self, nuke: Any, standin: Any, project: Path) -> None:
        self.nuke, self.standin, self.project = nuke, standin, project

    def script(self, name: str = "sh010_comp_v001.nk") -> Path:
        path = self.project / name
        self.nuke.scriptSaveAs(path.as_posix(), 1)
        return path

    def read(self, pattern: str, first: int = 1001, last: int = 1006) -> Any:
        node = self.nuke.nodes.Read(file=pattern, first=first, last=last, origfirst=first, origlast=last)
        root = self.nuke.root()
        if first < last:
            root["first_frame"].setValue(first)
            root["last_frame"].setValue(last)
        return node

    def void(self, *inputs: Any) -> Any:
        for node in self.nuke.selectedNodes():
            node.setSelected(False)
        node = self.nuke.createNode("VOID", inpanel=False)
        for index, source in enumerate(inputs):
            node.setInput(index, source)
        node.showControlPanel()
        return node

    def write(self, node: Any, folder: Path) -> Any:
        """A half EXR of a node's picture, as a comp ends."""
        write = self.nuke.nodes.Write(inputs=[node], file=f"{folder.as_posix()}/comp.%04d.exr", file_type="exr")
        for name, value in (("create_directories", True), ("raw", True), ("datatype", "16 bit half")):
            write[name].setValue(value)
        return write

    def click(self, node: Any, frame: int = 1003, positive: bool = True) -> None:
        self.nuke.frame(frame)
        node["point"].setValue(point(frame))
        self.press(node, "add_positive" if positive else "add_negative")

    def press(self, node: Any, button: str) -> None:
        self.standin.press(node[button])

    def wait(self, node: Any, *states: str, timeout: float = 60.0) -> str:
        """Until the node is in one of these states; its status."""
        from void_nuke.node import VoidNode

        def reached() -> bool:
            name = VoidNode(node).state.name
            if name in ("failed", "cancelled") and name not in states:
                raise AssertionError(f"{node['status'].value()}; swallowed: {self.standin.swallowed()}")
            return name in states

        try:
            self.standin.pump(reached, timeout)
        except TimeoutError:
            raise AssertionError(f"still: {node['status'].value()}; {self.standin.swallowed()}") from None
        return str(node["status"].value())

    def solve(self, node: Any, *states: str) -> str:
        self.press(node, "solve")
        return self.wait(node, *(states or ("ready",)))

    def said(self) -> list[str]:
        return list(self.standin.shown_texts())


@pytest.fixture
def artist(
    nuke: Any, standin: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Artist]:
    """In a new script that is saved in a project of its own."""
    yield from session(nuke, standin, server, tmp_path, monkeypatch)


def session(
    nuke: Any, standin: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Artist]:
    from void_nuke import bars, callbacks, office, staleness, watch

    point_at(monkeypatch, server, tmp_path)
    nuke.pluginAddPath((_ROOT / "gizmos").as_posix())
    monkeypatch.setattr(watch, "EVERY_S", 0.0)  # a test that waits for nothing sees a change at once
    monkeypatch.setattr(staleness, "STAT_EVERY_S", 0.0)
    callbacks.unregister()
    callbacks.register()
    project = tmp_path / "project"
    project.mkdir()
    made = Artist(nuke, standin, project)
    made.script()
    yield made
    office.close()
    bars.forget()
    watch.forget()
    callbacks.unregister()


@pytest.fixture
def no_swallowed(standin: Any) -> Iterator[Callable[[], list[Any]]]:
    """Nothing that Nuke would only have printed."""
    yield standin.swallowed
    assert standin.swallowed() == []
