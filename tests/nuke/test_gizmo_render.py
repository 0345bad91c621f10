"""The node renders by itself: no plugin, no server, no interface. Real EXRs in, real EXRs out, truth by numpy."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import OpenEXR
import pytest
from void_nuke import gizmo
from void_nuke.description import OUTPUTS

FAKE_NUKE: Final = Path(__file__).parents[1] / "nuke_standin" / "fake-nuke"
SIZE: Final = (24, 16)  # width, height
FIRST, LAST = 1001, 1004
RESULT: Final = (1002, 1003)
LAYERS: Final = tuple(f"void_quadmask.{name}" for name in ("primary", "overlap", "affected", "keep"))
MORE: Final = ("void_matte.generated", "void_conf.confidence")
OWN: Final = ("mist.amount", "crypto.id")  # further channels of the plate

Planes = dict[str, np.ndarray]  # channel as the file names it → (H, W)
Window = tuple[int, int, int, int]  # x0, y0, x1, y1, both ends inside; y down, as in EXR


def write_exr(path: Path, planes: Planes, display: Window, data: Window) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "displayWindow": (np.array(display[:2], np.int32), np.array(display[2:], np.int32)),
        "dataWindow": (np.array(data[:2], np.int32), np.array(data[2:], np.int32)),
    }
    with OpenEXR.File(header, {name: np.ascontiguousarray(plane) for name, plane in planes.items()}) as file:
        file.write(str(path))


@dataclass
class Picture:
    planes: Planes
    data: Window

    def __getitem__(self, name: str) -> np.ndarray:
        return self.planes[name]

    def rgb(self) -> np.ndarray:
        return np.stack([self.planes[one] for one in "RGB"])

    def on(self, window: Window) -> Planes:
        """Cut to ``window``, which lies inside."""
        x, y = window[0] - self.data[0], window[1] - self.data[1]
        width, height = window[2] - window[0] + 1, window[3] - window[1] + 1
        return {name: plane[y : y + height, x : x + width] for name, plane in self.planes.items()}


def read_exr(path: Path) -> Picture:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        low, high = file.header()["dataWindow"]
        planes = {name: np.array(one.pixels, np.float32) for name, one in file.channels().items()}
    return Picture(planes, (int(low[0]), int(low[1]), int(high[0]), int(high[1])))


def same_bits(one: np.ndarray, two: np.ndarray) -> bool:
    """NaN is like NaN, 0 is not like -0."""
    return one.shape == two.shape and bool((one.view(np.uint32) == two.view(np.uint32)).all())


def whole(width: int = SIZE[0], height: int = SIZE[1]) -> Window:
    return (0, 0, width - 1, height - 1)


def plate_planes(frame: int, width: int, height: int) -> Planes:
    """Scene-linear, with all that a renderer may leave in a plate, and channels of its own."""
    random = np.random.default_rng(frame)
    planes = {name: random.normal(0.5, 2, (height, width)).astype(np.float32) for name in ("R", "G", "B", "A")}
    planes["mist.amount"] = random.uniform(1, 1e5, (height, width)).astype(np.float32)
    planes["crypto.id"] = random.integers(0, 2**30, (height, width)).astype(np.uint32).view(np.float32)
    planes["R"][0, :5] = (np.nan, np.inf, -np.inf, 65504 * 4, -0.0)
    planes["G"][1, 0], planes["B"][1, 1] = -17.25, 1e-30
    return planes


def regions(width: int, height: int) -> Planes:
    """The layers of a result: an object, an affected region beside it that overlaps it, and the matte of both."""
    primary, affected = np.zeros((2, height, width), bool)
    primary[4:10, 6:12] = affected[4:10, 10:16] = True
    matte = primary.astype(np.float32)
    matte[4:10, 12:16] = (0.75, 0.5, 0.25, 0.125)
    layers = {
        "void_quadmask.primary": primary,
        "void_quadmask.overlap": primary & affected,
        "void_quadmask.affected": affected,
        "void_quadmask.keep": ~(primary | affected),
        "void_matte.generated": matte,
        "void_conf.confidence": np.where(matte > 0, np.linspace(0, 1, width, dtype=np.float32), 1),
    }
    return {name: plane.astype(np.float16) for name, plane in layers.items()}


def result_planes(plate: Planes, frame: int) -> Planes:
    """The plate's own pixels, something else inside of the matte."""
    layers = regions(*reversed(plate["R"].shape))
    random = np.random.default_rng(frame + 7)
    inside = layers["void_matte.generated"] > 0
    made = {
        name: np.where(inside, random.normal(20, 5, inside.shape).astype(np.float32), plate[name])
        for name in ("R", "G", "B")
    }
    return {**plate, **made, **layers}


def mixed(plate: np.ndarray, result: np.ndarray, matte: np.ndarray, mix: float = 1) -> np.ndarray:
    """What a Keymix does: float32, and where the matte is 0 or 1 nothing is computed."""
    share = matte.astype(np.float32) * np.float32(mix)
    with np.errstate(invalid="ignore"):
        soft = result * share + plate * (1 - share)
    return np.where(share <= 0, plate, np.where(share >= 1, result, soft)).astype(np.float32)


@dataclass
class Shot:
    """A plate and a result on disk, and a script that has the node on it."""

    folder: Path
    plates: dict[int, Planes] = field(default_factory=dict)
    results: dict[int, Planes] = field(default_factory=dict)
    data: Window = field(default_factory=whole)

    @property
    def plate_file(self) -> str:
        return (self.folder / "plate" / "plate.%04d.exr").as_posix()

    @property
    def result_file(self) -> str:
        return (self.folder / "void" / "v001" / "plate.%04d.exr").as_posix()

    def make(self, result_data: Window | None = None) -> Shot:
        for frame in range(FIRST, LAST + 1):
            width, height = self.data[2] - self.data[0] + 1, self.data[3] - self.data[1] + 1
            self.plates[frame] = plate_planes(frame, width, height)
            write_exr(Path(self.plate_file % frame), self.plates[frame], whole(), self.data)
            if RESULT[0] <= frame <= RESULT[1]:
                self.results[frame] = result_planes(self.plates[frame], frame)
                window = result_data or self.data
                cut = Picture(self.results[frame], self.data).on(window)
                write_exr(Path(self.result_file % frame), cut, whole(), window)
        return self

    def solved(self, **knobs: Any) -> dict[str, Any]:
        """The knobs of a node that has the result."""
        return {"result_file": self.result_file, "result_first": RESULT[0], "result_last": RESULT[1], **knobs}


def node(knobs: dict[str, Any]) -> str:
    """The gizmo's Group as a script embeds it, with these knobs."""
    text = gizmo.GIZMO.read_text(encoding="utf-8")
    body = text[text.index("Group {") :]
    lines = "".join(f" {name} {gizmo.word(str(value))}\n" for name, value in knobs.items())
    return body.replace("\n}\n", f"\n{lines}}}\n", 1)


def read_node(file: str, name: str = "Plate") -> str:
    return (
        f"Read {{\n inputs 0\n file_type exr\n file {gizmo.word(file)}\n first {FIRST}\n last {LAST}\n"
        f" origfirst {FIRST}\n origlast {LAST}\n origset true\n raw true\n name {name}\n}}\n"
    )


def write_node(file: str, name: str = "Out") -> str:
    return (
        f'Write {{\n channels all\n file {gizmo.word(file)}\n raw true\n file_type exr\n datatype "32 bit float"\n'
        f" create_directories true\n name {name}\n}}\n"
    )


def script(*parts: str) -> str:
    width, height = SIZE
    root = (
        f"version 14.0 v5\nRoot {{\n inputs 0\n first_frame {FIRST}\n last_frame {LAST}\n"
        f' format "{width} {height} 0 0 {width} {height} 1 shot"\n}}\n'
    )
    return root + "".join(parts)


def on_plate(shot: Shot, knobs: dict[str, Any]) -> str:
    return read_node(shot.plate_file) + "set P [stack 0]\npush 0\npush 0\npush 0\npush $P\n" + node(knobs)


class Farm:
    """A machine that renders scripts with ``fake-nuke -x``, which hides the plugin as Nuke's own Python would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("VOID", "NUKE", "FAKE_NUKE", "PYTHONPATH"))}
        self.environment = {**kept, "FAKE_NUKE_PYTHON": sys.executable}

    def out(self, name: str = "out") -> str:
        return (self.folder / "out" / f"{name}.%04d.exr").as_posix()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(FAKE_NUKE), *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=300
        )

    def render(self, text: str) -> subprocess.CompletedProcess[str]:
        path = self.folder / "comp.nk"
        path.write_text(text, encoding="utf-8")
        return self.run("-x", "-F", f"{FIRST}-{LAST}", str(path))

    def frames(self, name: str) -> dict[int, Picture]:
        return {frame: read_exr(Path(self.out(name) % frame)) for frame in range(FIRST, LAST + 1)}


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path)


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    return Shot(tmp_path).make()


def assert_is_plate(picture: Picture, plate: Planes, names: tuple[str, ...] = (*"RGBA", *OWN)) -> None:
    for name in names:
        assert same_bits(picture[name], plate[name]), name


def grey_quadmask(result: Planes) -> np.ndarray:
    primary, overlap, affected = (result[f"void_quadmask.{one}"] > 0 for one in ("primary", "overlap", "affected"))
    grey = np.full(primary.shape, 255.0)
    grey[affected], grey[primary] = 127, 0
    grey[overlap] = 63
    return (grey / 255).astype(np.float32)


def expected(output: str, plate: Planes, result: Planes | None, mix: float = 1) -> np.ndarray:
    """rgb, by the page's words."""
    over = np.stack([plate[one] for one in "RGB"])
    made = over if result is None else np.stack([result[one] for one in "RGB"])
    none = np.zeros(plate["R"].shape, np.float32)
    matte = none if result is None else result["void_matte.generated"].astype(np.float32)
    if output == "composite":
        return mixed(over, made, matte, mix)
    if output == "quadmask":
        return np.stack([none + 1 if result is None else grey_quadmask(result)] * 3)
    if output == "confidence":
        return np.stack([none if result is None else result["void_conf.confidence"].astype(np.float32)] * 3)
    return {"generated": made, "plate": over, "generated matte": np.stack([matte] * 3)}[output]


@dataclass
class Comp:
    """One script with many nodes, rendered once: each a Write's name → what it shows is told by the tests below."""

    shot: Shot
    wide: Shot
    farm: Farm
    masks: Planes
    done: subprocess.CompletedProcess[str]

    def frames(self, name: str) -> dict[int, Picture]:
        assert self.done.returncode == 0, self.done.stdout + self.done.stderr
        return self.farm.frames(name)

    def assert_shows(self, name: str, output: str, results: dict[int, Planes], mix: float = 1) -> None:
        """On every frame ``output``, and beside it the plate's own alpha and channels."""
        for frame, picture in self.frames(name).items():
            plate = self.shot.plates[frame]
            assert same_bits(picture.rgb(), expected(output, plate, results.get(frame), mix)), (name, frame)
            assert_is_plate(picture, plate, ("A", *OWN))


@pytest.fixture(scope="module")
def comp(tmp_path_factory: pytest.TempPathFactory) -> Comp:
    farm = Farm(tmp_path_factory.mktemp("farm"))
    shot, wide = Shot(farm.folder).make(), Shot(farm.folder / "wide", data=(-3, -2, 26, 17)).make(result_data=whole())
    masks = {name: np.flip(plane, 1) for name, plane in regions(*SIZE).items() if name in LAYERS}
    waiting = {"mask_file": _waiting(farm, masks), "mask_first": RESULT[0], "mask_last": RESULT[1]}
    nodes: dict[str, dict[str, Any]] = {
        "unsolved": {"missing_result": "plate"},
        "unsolved_plate": {"output": "plate"},
        "half": shot.solved(mix=0.5),
        "none": shot.solved(mix=0),
        "tcl": shot.solved(result_file="[file dirname [value root.name]]/void/v001/plate.%04d.exr"),
        "big": shot.solved(result_file=_big_results(farm, shot)),
        "review": {**shot.solved(), **waiting, "output": "quadmask"},
        "review_wider": {**shot.solved(result_last=RESULT[0]), **waiting, "output": "quadmask"},
        "review_first": {**waiting, "output": "quadmask"},
        "review_composite": {**shot.solved(), **waiting},
    }
    nodes.update({output: shot.solved(output=output) for output in OUTPUTS})
    lost = _lost_results(farm, shot)
    nodes.update({f"lost_{o}": shot.solved(output=o, missing_result="plate", result_file=lost) for o in OUTPUTS})
    text = read_node(shot.plate_file) + "set P [stack 0]\n"
    for name, knobs in nodes.items():
        text += "push 0\npush 0\npush 0\npush $P\n" + node(knobs) + write_node(farm.out(name))
    text += _special(farm, shot, wide)
    return Comp(shot, wide, farm, masks, farm.render(script(text)))


def _big_results(farm: Farm, shot: Shot) -> str:
    file = (farm.folder / "big" / "plate.%04d.exr").as_posix()
    for frame in shot.results:
        write_exr(Path(file % frame), result_planes(plate_planes(frame, 40, 30), frame), whole(40, 30), whole(40, 30))
    return file


def _lost_results(farm: Farm, shot: Shot) -> str:
    """The result without its last frame."""
    file = (farm.folder / "lost" / "plate.%04d.exr").as_posix()
    write_exr(Path(file % RESULT[0]), shot.results[RESULT[0]], whole(), whole())
    return file


def _waiting(farm: Farm, masks: Planes) -> str:
    """A quadmask in review, as the server writes one."""
    file = (farm.folder / "masks" / "quadmask.%04d.exr").as_posix()
    for frame in range(RESULT[0], RESULT[1] + 1):
        write_exr(Path(file % frame), {"R": grey_quadmask(masks), **masks}, whole(), whole())
    return file


def _special(farm: Farm, shot: Shot, wide: Shot) -> str:
    """Nodes that hang differently: on nothing, on mattes of another size, on each other, on a plate with overscan."""
    small = (farm.folder / "matte" / "matte.%04d.exr").as_posix()
    for frame in range(FIRST, LAST + 1):
        write_exr(Path(small % frame), {"A": np.ones((5, 9), np.float32)}, whole(9, 5), whole(9, 5))
    alone = "push 0\npush 0\npush 0\n"
    return (
        f"{alone}push 0\n{node({'missing_result': 'plate'})}{write_node(farm.out('alone'))}"
        f"{read_node(small, 'Matte')}set M [stack 0]\npush $M\npush $M\npush $M\npush $P\n"
        f"{node(shot.solved())}{write_node(farm.out('mattes'))}"
        f"{alone}push $P\n{node(shot.solved())}set V [stack 0]\n"
        f"{alone}push $V\n{node({'missing_result': 'plate'})}{write_node(farm.out('second'))}"
        f"{read_node(wide.plate_file, 'Wide')}set W [stack 0]\n{alone}push $W\n"
        f"{node(wide.solved())}{write_node(farm.out('wide'))}"
    )


@pytest.mark.parametrize("output", OUTPUTS)
def test_each_output_is_what_the_page_says(comp, output):
    comp.assert_shows(output, output, comp.shot.results)


def test_outside_of_the_matte_the_composite_has_the_plates_own_bits(comp):
    assert np.isnan(comp.frames("composite")[RESULT[0]]["R"][0, 0]), "the plate has NaN there, and keeps it"
    for frame, result in comp.shot.results.items():
        picture, plate = comp.frames("composite")[frame], comp.shot.plates[frame]
        outside, inside = result["void_matte.generated"] == 0, result["void_matte.generated"] == 1
        for name in "RGB":
            assert same_bits(picture[name][outside], plate[name][outside])
            assert same_bits(picture[name][inside], result[name][inside])
        assert not (picture["R"][inside] == plate["R"][inside]).any()


def test_the_layers_of_the_result_come_along_whatever_the_output(comp):
    for output in set(OUTPUTS) - {"plate"}:
        for frame, picture in comp.frames(output).items():
            result = comp.shot.results.get(frame)
            for name in LAYERS + MORE:
                truth = np.zeros((SIZE[1], SIZE[0]), np.float32) if result is None else result[name].astype(np.float32)
                assert same_bits(picture[name], truth), (output, frame, name)
    for frame, picture in comp.frames("plate").items():
        assert set(picture.planes) == set(comp.shot.plates[frame])


@pytest.mark.parametrize(("name", "mix"), [("half", 0.5), ("none", 0)])
def test_mix_goes_from_the_plate_to_the_composite(comp, name, mix):
    comp.assert_shows(name, "composite", comp.shot.results, mix)


def test_never_solved_the_plate_passes_where_that_is_wanted(comp):
    comp.assert_shows("unsolved", "plate", {})
    comp.assert_shows("unsolved_plate", "plate", {})
    assert all((picture[name] == 0).all() for picture in comp.frames("unsolved").values() for name in LAYERS + MORE)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_missing_frame_of_the_result_counts_as_none_where_the_plate_is_wanted(comp, output):
    there = {RESULT[0]: comp.shot.results[RESULT[0]]}
    for frame, picture in comp.frames(f"lost_{output}").items():
        assert same_bits(picture.rgb(), expected(output, comp.shot.plates[frame], there.get(frame))), frame


def test_nothing_connected_renders_without_an_error(comp):
    for picture in comp.frames("alone").values():
        assert all((plane == 0).all() for plane in picture.planes.values())


def test_mattes_of_another_size_on_the_inputs_do_not_matter_to_a_render(comp):
    comp.assert_shows("mattes", "composite", comp.shot.results)


def test_a_render_writes_none_of_the_nodes_own_exports(comp):
    assert comp.done.returncode == 0
    made = {path.parent.name for path in comp.farm.folder.rglob("*.exr")}
    assert made == {"plate", "v001", "out", "big", "lost", "masks", "matte"}


def test_a_plate_with_overscan_keeps_its_data_window_and_its_pixels_there(comp):
    for frame, picture in comp.frames("wide").items():
        assert picture.data == comp.wide.data
        plate, result = comp.wide.plates[frame], comp.wide.results.get(frame)
        if result is None:
            assert_is_plate(picture, plate)
            continue
        inside = np.zeros(plate["R"].shape, bool)
        inside[2:18, 3:27] = True
        matte = np.where(inside, result["void_matte.generated"].astype(np.float32), np.float32(0))
        for name in "RGB":
            assert same_bits(picture[name], mixed(plate[name], result[name], matte)), name
        assert (picture["void_quadmask.keep"][~inside] == 0).all()


def test_a_result_of_another_size_leaves_data_window_and_other_channels_to_the_plate(comp):
    for frame, picture in comp.frames("big").items():
        assert picture.data == whole()
        assert_is_plate(picture, comp.shot.plates[frame], ("A", *OWN))


def test_a_review_does_not_change_what_a_farm_renders(comp):
    comp.assert_shows("review_composite", "composite", comp.shot.results)


@pytest.mark.parametrize("name", ["review", "review_wider", "review_first"])
def test_while_a_quadmask_waits_it_is_shown_on_a_farm_too(comp, name):
    for frame, picture in comp.frames(name).items():
        waits = RESULT[0] <= frame <= RESULT[1]
        truth = grey_quadmask(comp.masks) if waits else np.ones((SIZE[1], SIZE[0]), np.float32)
        assert same_bits(picture["G"], truth), frame
        if waits:
            assert same_bits(picture["void_quadmask.overlap"], comp.masks["void_quadmask.overlap"].astype(np.float32))


def test_of_two_nodes_in_a_row_the_second_takes_the_first_ones_picture_and_hides_its_layers(comp):
    comp.assert_shows("second", "composite", comp.shot.results)
    assert all((picture[name] == 0).all() for picture in comp.frames("second").values() for name in LAYERS + MORE)


def test_the_path_may_be_tcl_relative_to_the_script(comp):
    comp.assert_shows("tcl", "composite", comp.shot.results)


def test_never_solved_a_render_stops_and_names_the_node(farm, shot):
    done = farm.render(script(on_plate(shot, {"name": "VOID7"}), write_node(farm.out())))
    assert done.returncode != 0
    assert "VOID7 has no result - solve it" in done.stdout + done.stderr
    assert not list((farm.folder / "out").glob("*.exr"))


def test_a_missing_frame_of_the_result_stops_the_render_with_its_name(farm, shot):
    lost = Path(shot.result_file % RESULT[1])
    lost.unlink()
    done = farm.render(script(on_plate(shot, shot.solved()), write_node(farm.out())))
    assert done.returncode != 0
    assert f"No such file or directory: {lost}" in done.stdout + done.stderr


KEEP_AND_PASTE: Final = """
import nuke, sys
script, once, twice, pasted = sys.argv[-4:]
nuke.scriptOpen(script)
nuke.scriptSaveAs(once, 1)
nuke.scriptClear()
nuke.scriptOpen(once)
nuke.scriptSaveAs(twice, 1)
for node in nuke.allNodes():
    node.setSelected(node.name() == "VOID1")
nuke.nodeCopy(pasted)
made = nuke.nodePaste(pasted)
assert made.name() == "VOID2", made.name()
assert made["result_file"].value() == nuke.toNode("VOID1")["result_file"].value()
assert made.node("Composite").Class() == "Keymix"
assert sorted(made.knobs()) == sorted(nuke.toNode("VOID1").knobs())
print("kept and pasted")
"""


def test_saving_and_loading_changes_nothing_and_a_copy_is_whole(farm, shot):
    knobs = shot.solved(
        prompt='an empty [street] "wet" {asphalt}', seed=7, output="generated matte", status="ready v001"
    )
    (farm.folder / "comp.nk").write_text(script(on_plate(shot, knobs), write_node(farm.out())), encoding="utf-8")
    (farm.folder / "keep.py").write_text(KEEP_AND_PASTE, encoding="utf-8")
    names = [str(farm.folder / name) for name in ("comp.nk", "once.nk", "twice.nk", "pasted.nk")]
    done = farm.run("-t", str(farm.folder / "keep.py"), *names)
    assert "kept and pasted" in done.stdout, done.stdout + done.stderr
    once, twice = (Path(name).read_text(encoding="utf-8") for name in names[1:3])
    assert once == twice.replace("twice.nk", "once.nk")
    for text in ("prompt ", "add_layer {void_matte void_matte.generated}", "from0 {{{parent.primary_channel}}}"):
        assert text in once
