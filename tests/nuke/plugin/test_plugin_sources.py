"""What goes to the server: a Read's own files, or an export; ranges, handles, colour, masks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from small_shots import FIRST, HEIGHT, LAST, WIDTH, inside, read_exr, write_exr, write_matte, write_plate
from void_client.errors import SettingsError
from void_client.job import ShotFile
from void_client.sequence import FramePattern
from void_client.studio import load_plugin_settings
from void_nuke import ordering, staleness
from void_nuke import plate as plates
from void_nuke.node import VoidNode


def shot_of(node: Any, **changes: Any) -> ShotFile:
    return ordering.order_of(VoidNode(node), review=False, **changes).shot


def clicked(artist: Any, *inputs: Any) -> Any:
    node = artist.void(*inputs)
    artist.click(node)
    return node


def exported(artist: Any) -> list[str]:
    return [path for _, _, _, path in artist.standin.rendered()]


# --- the plate


def test_an_untouched_read_is_sent_as_it_is(artist, plate):
    dot = artist.nuke.nodes.Dot(inputs=[artist.read(plate)])
    shot = shot_of(clicked(artist, dot))
    assert shot.plate == plate
    assert (shot.frames, shot.deliver) == ("1001-1006", None)
    assert (shot.colour_space, shot.ocio) == ("", "")
    assert exported(artist) == []


@pytest.mark.parametrize("how", ["grade", "retimed", "disabled", "held"])
def test_anything_else_is_exported_first(artist, plate, how):
    read = artist.read(plate)
    source = read
    if how == "grade":
        source = artist.nuke.nodes.Grade(inputs=[read])
    elif how == "retimed":
        read["frame_mode"].setValue("offset")
        read["frame"].setValue("1")
    elif how == "disabled":
        read["disable"].setValue(True)
    else:
        read["file"].setValue(plate.replace("%04d", "1001"))
    shot = shot_of(clicked(artist, source))
    assert "/exports/plate_" in shot.plate
    assert len(exported(artist)) == 6
    files = [FramePattern.parse(shot.plate).path(frame) for frame in range(FIRST, LAST + 1)]
    assert all(file.is_file() for file in files)
    write = artist.nuke.toNode("VOID1").node("ExportPlate")
    assert write["disable"].value() is True
    assert write["file"].value() == ""


def test_a_read_that_converts_is_not_untouched(artist, plate):
    read = artist.read(plate)
    frames = tuple(range(FIRST, LAST + 1))
    assert plates.untouched_files(read, frames) == plate
    read["colorspace"].setValue("sRGB")
    assert plates.untouched_files(read, frames) == ""
    read["raw"].setValue(True)
    assert plates.untouched_files(read, frames) == plate


@pytest.mark.parametrize("who", ["every class", "Reads alone"])
def test_a_path_is_what_this_machine_calls_it(artist, plate, who):
    """Filename filters and Tcl count; the frame's number stays out of the name, wherever the viewer stands."""
    folder = str(Path(plate).parent)
    artist.nuke.frame(1003)
    named = {} if who == "every class" else {"nodeClass": "Read"}

    def here(path: str) -> str:
        return path.replace("P:/plates", folder)

    artist.nuke.addFilenameFilter(here, **named)
    try:
        read = artist.read(plate.replace(folder, "P:/[string range xplates 1 6]"))
        assert plates.pattern_of(read) == plate
        assert plates.untouched_files(read, tuple(range(FIRST, LAST + 1))) == plate
        read["file"].setValue(plate.replace(folder, "P:/plates").replace("%04d", "####"))
        assert plates.pattern_of(read) == plate.replace("%04d", "####")
        read["file"].setValue(plate.replace("%04d", "1001"))
        assert plates.pattern_of(read) == plate.replace("%04d", "1001")
    finally:
        artist.nuke.removeFilenameFilter(here, **named)


@pytest.mark.parametrize(
    ("script", "shot"),
    [
        ("sh010_comp_v001", "sh010_comp"),
        ("tv5_010_comp_v003", "tv5_010_comp"),
        ("rev2_sh010_comp_v001", "rev2_sh010_comp"),
        ("sh010_v2_comp_v003", "sh010_v2_comp"),
        ("sh010-comp.V012", "sh010-comp"),
        ("sh010_comp_v003_jd", "sh010_comp"),
        ("sh010_comp_v003b", "sh010_comp_v003b"),
        ("sh010_comp", "sh010_comp"),
        ("v003", "v003"),
        ("_v003", "_v003"),
        ("sh_v001_v002", "sh_v001"),
    ],
)
def test_a_shot_is_the_script_without_its_version(artist, script, shot):
    artist.script(f"{script}.nk")
    assert plates.shot_name() == shot


def test_an_export_holds_the_graphs_bits(artist, plate):
    """The Dot's pixels, exported and not read from the file, are the file's: half, raw."""
    copy = artist.nuke.nodes.Copy(inputs=[artist.read(plate), artist.read(plate)])
    shot = shot_of(clicked(artist, copy))
    for frame in range(FIRST, LAST + 1):
        before, size = read_exr(Path(plate % frame))
        after, _ = read_exr(Path(shot.plate % frame))
        assert size == (WIDTH, HEIGHT)
        assert all(after[channel] == before[channel] for channel in "RGB")


def test_an_unchanged_upstream_is_not_exported_again(artist, plate, tmp_path):
    pattern = write_plate(tmp_path)
    grade = artist.nuke.nodes.Grade(inputs=[artist.read(pattern)])
    node = clicked(artist, grade)
    first = shot_of(node)
    assert shot_of(node).plate == first.plate
    assert len(exported(artist)) == 6
    node["seed"].setValue(9)
    assert shot_of(node).plate == first.plate
    assert len(exported(artist)) == 6, "a seed changes no plate"
    grade["multiply"].setValue(0.5)
    assert shot_of(node).plate != first.plate
    assert len(exported(artist)) == 12
    grade["multiply"].setValue(1.0)
    assert shot_of(node).plate == first.plate
    assert len(exported(artist)) == 12, "undone: the first export is still there"
    again = Path(pattern % 1003)
    again.write_bytes(again.read_bytes())
    os.utime(again, (time.time() + 5, time.time() + 5))
    assert shot_of(node).plate != first.plate
    assert len(exported(artist)) == 18, "a plate that was rendered again under its name is another plate"


def _rendered_again(path: str, seconds: float = 5.0) -> None:
    """The same bytes at another time."""
    os.utime(path, (time.time() + seconds, time.time() + seconds))


@pytest.mark.parametrize("where", ["in a group", "a still", "a range that is too wide"])
def test_files_count_wherever_they_are_read(artist, plate, tmp_path, where):
    nuke = artist.nuke
    pattern = write_plate(tmp_path)
    changed = pattern % 1003
    if where == "in a group":
        group = nuke.nodes.Group()
        with group:
            nuke.nodes.Output(inputs=[artist.read(pattern)])
        source: Any = group
    elif where == "a still":
        changed = pattern % 1001
        source = nuke.nodes.Copy(inputs=[artist.read(plate), artist.read(changed)])
    else:
        wide = artist.read(pattern, 1001, 1007)
        wide["on_error"].setValue("black")
        source = nuke.nodes.Grade(inputs=[wide])
    node = clicked(artist, source)
    first = shot_of(node, frames=(1002, 1004))
    assert shot_of(node, frames=(1002, 1004)).plate == first.plate
    _rendered_again(changed)
    assert shot_of(node, frames=(1002, 1004)).plate != first.plate
    assert len(exported(artist)) == 6


def test_other_frames_do_not_count(artist, plate, tmp_path):
    pattern = write_plate(tmp_path)
    node = clicked(artist, artist.nuke.nodes.Grade(inputs=[artist.read(pattern)]))
    first = shot_of(node, frames=(1002, 1004))
    _rendered_again(pattern % 1006)
    assert shot_of(node, frames=(1002, 1004)).plate == first.plate
    assert len(exported(artist)) == 3
    assert shot_of(node).plate == first.plate, "the first look at 1006"
    assert len(exported(artist)) == 6
    held = artist.nuke.nodes.FrameHold(inputs=[artist.read(pattern)])
    held["firstFrame"].setValue(1006)
    node.setInput(0, held)
    second = shot_of(node, frames=(1002, 1004))
    _rendered_again(pattern % 1006, 9.0)
    assert shot_of(node, frames=(1002, 1004)).plate != second.plate, "where time moves, any frame may be shown"


def test_an_untouched_read_is_not_looked_at(artist, plate, monkeypatch):
    from void_nuke import exports

    def asked(*_: Any) -> str:
        raise AssertionError("the Read's own files are sent")

    monkeypatch.setattr(exports, "export", asked)
    assert shot_of(clicked(artist, artist.read(plate))).plate == plate


def test_expressions_that_ask_the_root_go_by_what_they_ask(artist, plate):
    """Not by the frame that the viewer shows."""
    grade = artist.nuke.nodes.Grade(inputs=[artist.read(plate)])
    grade["multiply"].setExpression("root.first_frame / 2000")
    node = VoidNode(artist.void(grade))
    artist.nuke.frame(1002)
    before = staleness.fingerprint(node)
    artist.nuke.frame(1004)
    assert staleness.fingerprint(node) == before
    artist.nuke.root()["first_frame"].setValue(1002)
    assert staleness.fingerprint(node) != before


def test_only_what_lacks_is_exported(artist, plate):
    node = clicked(artist, artist.nuke.nodes.Grade(inputs=[artist.read(plate)]))
    shot_of(node, frames=(1002, 1003))
    assert len(exported(artist)) == 2
    shot_of(node, frames=(1002, 1005))
    assert len(exported(artist)) == 4


def test_the_studio_may_want_float(artist, plate, monkeypatch):
    monkeypatch.setenv("VOID_NUKE_EXPORT_PIXELS", "float")
    shot = shot_of(clicked(artist, artist.nuke.nodes.Grade(inputs=[artist.read(plate)])))
    planes, _ = read_exr(Path(shot.plate % 1001))
    assert len(planes["R"]) == WIDTH * HEIGHT * 4


def test_an_exported_plate_is_solved_and_lands_in_the_graph(artist, plate, no_swallowed):
    grade = artist.nuke.nodes.Grade(inputs=[artist.read(plate)])
    grade["multiply"].setValue(0.5)
    node = clicked(artist, grade)
    node["review"].setValue(False)
    artist.solve(node)
    x, y = 42, HEIGHT - 27
    gone = node.sample("rgba.red", x, y, 1, 1, 1003)
    assert grade.sample("rgba.red", x, y, 1, 1, 1003) == pytest.approx(1.25, abs=0.01)
    assert gone < 0.4


# --- ranges, handles, views


@pytest.mark.parametrize(
    ("knobs", "frames", "deliver"),
    [
        ({"range": "input"}, "1001-1006", None),
        ({"range": "global"}, "1002-1004", None),
        ({"range": "custom", "first": 1003, "last": 1004}, "1003-1004", None),
        ({"range": "custom", "first": 1003, "last": 1004, "handles": 1}, "1002-1005", "1003-1004"),
        ({"range": "custom", "first": 1002, "last": 1004, "handles": 4}, "1001-1006", "1002-1004"),
    ],
)
def test_ranges_and_handles(artist, plate, knobs, frames, deliver):
    node = clicked(artist, artist.read(plate))
    root = artist.nuke.root()
    root["first_frame"].setValue(1002)
    root["last_frame"].setValue(1004)
    for name, value in knobs.items():
        node[name].setValue(value)
    shot = shot_of(node)
    assert (shot.frames, shot.deliver) == (frames, deliver)


def test_handles_are_not_delivered(artist, plate, no_swallowed):
    node = clicked(artist, artist.read(plate))
    for name, value in (("range", "custom"), ("first", 1002), ("last", 1005), ("handles", 1), ("review", False)):
        node[name].setValue(value)
    artist.solve(node)
    assert (node["result_first"].value(), node["result_last"].value()) == (1002, 1005)
    outside = node.sample("rgba.red", 24, HEIGHT - 27, 1, 1, 1001)
    assert outside == node.input(0).sample("rgba.red", 24, HEIGHT - 27, 1, 1, 1001)


def test_one_view_of_a_stereo_plate(artist, tmp_path):
    write_plate(tmp_path, name="left")
    write_plate(tmp_path, name="right")
    nuke = artist.nuke
    nuke.addView("left")
    nuke.addView("right")
    one = nuke.nodes.OneView(inputs=[artist.read(f"{tmp_path.as_posix()}/%V.%04d.exr")])
    one["view"].setValue("right")
    shot = shot_of(clicked(artist, one))
    assert "/exports/plate_" in shot.plate


# --- colour


@pytest.mark.parametrize(
    ("knobs", "space", "ocio"),
    [
        ({"colorManagement": "Nuke"}, "", ""),
        ({"colorManagement": "OCIO", "OCIO_config": "nuke-default"}, "", ""),
        (
            {
                "colorManagement": "OCIO",
                "OCIO_config": "fn-nuke_studio-config-v1.0.0_aces-v1.3_ocio-v2.1",
                "workingSpaceLUT": "ACEScg",
            },
            "ACEScg",
            "ocio://studio-config-v1.0.0_aces-v1.3_ocio-v2.1",
        ),
        (
            {"colorManagement": "OCIO", "OCIO_config": "aces_1.2", "workingSpaceLUT": "ACES - ACEScg"},
            "ACES - ACEScg",
            "ocio://studio-config-v1.0.0_aces-v1.3_ocio-v2.1",
        ),
        (
            {
                "colorManagement": "OCIO",
                "OCIO_config": "custom",
                "customOCIOConfigPath": "/show/config.ocio",
                "workingSpaceLUT": "ACES - ACEScg",
            },
            "ACES - ACEScg",
            "/show/config.ocio",
        ),
    ],
)
def test_the_working_space_is_named(artist, monkeypatch, knobs, space, ocio):
    monkeypatch.delenv("OCIO", raising=False)
    for name, value in knobs.items():
        artist.nuke.root()[name].setValue(value)
    assert plates.colour() == plates.Colour(space, ocio)


def test_a_configuration_that_only_nuke_has_is_refused_before_the_export(artist, plate, monkeypatch):
    monkeypatch.delenv("OCIO", raising=False)
    node = clicked(artist, artist.nuke.nodes.Grade(inputs=[artist.read(plate)]))
    root = artist.nuke.root()
    for name, value in (("colorManagement", "OCIO"), ("OCIO_config", "aces_1.2"), ("workingSpaceLUT", "Our Space")):
        root[name].setValue(value)
    artist.press(node, "solve")
    assert artist.wait(node, "failed").startswith(
        "failed. The working space is Our Space of the OCIO configuration aces_1.2, which only Nuke has."
    )
    assert exported(artist) == []


def test_the_environment_names_the_configuration(artist, monkeypatch):
    monkeypatch.setenv("OCIO", "/show/env.ocio")
    root = artist.nuke.root()
    root["colorManagement"].setValue("OCIO")
    root["workingSpaceLUT"].setValue("ACEScg")
    assert plates.colour() == plates.Colour("ACEScg", "/show/env.ocio")


def test_a_working_space_that_the_server_does_not_know(artist, plate):
    root = artist.nuke.root()
    root["colorManagement"].setValue("OCIO")
    root["OCIO_config"].setValue("fn-nuke_cg-config-v1.0.0_aces-v1.3_ocio-v2.1")
    root["workingSpaceLUT"].setValue("Our Own Space")
    read = artist.read(plate)
    read["raw"].setValue(True)
    node = clicked(artist, read)
    artist.press(node, "solve")
    status = artist.wait(node, "failed")
    assert "Our Own Space" in status


# --- masks


def test_mattes_hold_the_chosen_channel(artist, plate, tmp_path):
    for frame in range(FIRST, LAST + 1):
        disc = [float(inside(frame, x, y)) for y in range(HEIGHT) for x in range(WIDTH)]
        nothing = [0.0] * len(disc)
        write_exr(tmp_path / f"m.{frame}.exr", WIDTH, HEIGHT, {"R": disc, "G": nothing, "B": nothing, "A": nothing})
    node = artist.void(artist.read(plate), artist.read(f"{tmp_path.as_posix()}/m.%04d.exr"))
    node["primary_channel"].setValue("rgba.red")
    shot = shot_of(node)
    assert shot.masks is not None
    planes, _ = read_exr(Path(str(shot.masks.matte) % 1003))
    disc_bits, _ = read_exr(tmp_path / "m.1003.exr")
    assert planes["A"] == disc_bits["R"]


def test_mattes_alone_ask_nobody(artist, plate, tmp_path):
    node = artist.void(artist.read(plate), artist.read(write_matte(tmp_path)))
    node["mode"].setValue("use mattes")
    shot = shot_of(node)
    assert shot.masks is not None
    assert shot.masks.reasoner == "none"
    assert shot.masks.affected is None


def test_a_quadmask_goes_as_it_is(artist, plate, tmp_path, no_swallowed):
    values = [0.0 if 40 <= i % WIDTH < 50 and 20 <= i // WIDTH < 30 else 1.0 for i in range(WIDTH * HEIGHT)]
    for frame in range(FIRST, LAST + 1):
        write_exr(tmp_path / f"q.{frame}.exr", WIDTH, HEIGHT, {c: values for c in "RGB"})
    quadmask = artist.read(f"{tmp_path.as_posix()}/q.%04d.exr")
    node = artist.void(artist.read(plate), None, None, quadmask)
    node["mode"].setValue("quadmask override")
    shot = shot_of(node)
    assert shot.quadmask == f"{tmp_path.as_posix()}/q.%04d.exr"
    assert shot.masks is None
    assert artist.solve(node).startswith("ready v001"), "nothing to review: the artist made the quadmask"


def test_clicks_outside_of_the_range_wait(artist, plate):
    node = clicked(artist, artist.read(plate))
    artist.click(node, 1006, positive=False)
    assert shot_of(node, frames=(1002, 1004)).masks is not None
    assert len(shot_of(node, frames=(1002, 1004)).masks.clicks) == 1
    assert len(shot_of(node).masks.clicks) == 2


def test_clicks_count_from_the_top_left(artist, plate):
    node = artist.void(artist.read(plate))
    artist.nuke.frame(1002)
    node["point"].setValue([10, 50])
    artist.press(node, "add_positive")
    node["box"].setValue([10, 4, 30, 44])
    artist.press(node, "add_box")
    assert node["clicks_shown"].value() == "frame 1002: + 10, 4; box 10, 10 – 30, 50   (on frames 1002; y from the top)"
    artist.press(node, "remove_click")
    assert "+ 10" not in node["clicks_shown"].value()
    artist.press(node, "clear_clicks")
    assert node["clicks_shown"].value() == "no points, no boxes"
    artist.nuke.undo()
    assert len(VoidNode(node).clicks.boxes) == 1


def test_the_studio_sets_up_a_new_node(artist, monkeypatch, tmp_path):
    studio = tmp_path / "studio.yaml"
    studio.write_text("engine: void\nquality: draft\nreview: false\nfarm_chunk_size: 5\n")
    monkeypatch.setenv("VOID_STUDIO_CONFIG", str(studio))
    node = artist.void()
    assert [node[name].value() for name in ("engine", "quality", "review", "chunk_size")] == ["void", "draft", False, 5]


@pytest.mark.parametrize("name", ["engine", "segmenter", "reasoner", "quality"])
def test_the_studio_may_choose_what_the_node_offers(artist, name, monkeypatch):
    for value in artist.void()[name].values():
        monkeypatch.setenv(f"VOID_NUKE_{name.upper()}", value)
        assert getattr(load_plugin_settings(os.environ), name) == value
    monkeypatch.setenv(f"VOID_NUKE_{name.upper()}", "best")
    with pytest.raises(SettingsError, match=f"{name} is 'best'; it can be"):
        load_plugin_settings(os.environ)


def test_draft_is_quick_with_the_finals_seed(artist, plate):
    node = clicked(artist, artist.read(plate))
    node["quality"].setValue("draft")
    shot = shot_of(node)
    assert shot.options == {"search_frames": 8, "fill_size": 336}
    node["engine"].setValue("void")
    node["steps"].setValue(12)
    assert shot_of(node).options == {"profile": "draft", "steps": 12}
    assert shot_of(node).seed == 42


def test_overrides_are_found_by_uuid_and_by_name(artist, plate):
    node = clicked(artist, artist.read(plate))
    sidecar = artist.project / "sh010_comp_v001.void.yaml"
    sidecar.write_text("VOID1:\n  overrides: []\n")
    assert (shot_of(node).overrides, shot_of(node).section) == (str(sidecar), "VOID1")
    uuid = node["void_uuid"].value()
    sidecar.write_text(f"VOID1:\n  overrides: []\n{uuid}:\n  overrides: []\n")
    assert shot_of(node).section == uuid
    own = artist.project / "mine.yaml"
    own.write_text("overrides: []\n")
    node["override_file"].setValue(own.as_posix())
    assert (shot_of(node).overrides, shot_of(node).section) == (str(own), "")


def test_editing_overrides_makes_a_section_and_keeps_the_rest(artist, standin, plate, no_swallowed):
    node = clicked(artist, artist.read(plate))
    sidecar = artist.project / "sh010_comp_v001.void.yaml"
    sidecar.write_text("# mine\nVOID9:\n  overrides: []\n")
    before = staleness.fingerprint(VoidNode(node))
    artist.press(node, "edit_override")
    text = sidecar.read_text()
    assert text.startswith("# mine\nVOID9:\n  overrides: []\n")
    assert f"{node['void_uuid'].value()}:\n  overrides:" in text
    assert ("start", sidecar.as_uri()) in standin.printed()
    assert staleness.fingerprint(VoidNode(node)) == before, "an empty section says nothing"
    artist.press(node, "edit_override")
    assert sidecar.read_text() == text
    shot = shot_of(node)
    assert shot.section == node["void_uuid"].value()


def test_who_said_what_is_shown(artist, plate, no_swallowed):
    entry = "{frames: 1003, region: keep, mode: replace, shape: {rectangle: [0, 0, 20, 20]}}"
    (artist.project / "sh010_comp_v001.void.yaml").write_text(f"VOID1:\n  overrides:\n    - {entry}\n")
    node = clicked(artist, artist.read(plate))
    artist.solve(node, "masks ready")
    artist.nuke.frame(1003)
    artist.press(node, "show_resolved")
    (text,) = artist.said()
    assert "frames 1003\n" in text
    assert "remove: clicks (track)" in text
    assert node["sources_shown"].value().startswith("frame 1003: remove: clicks (track)")
    artist.nuke.frame(1005)
    artist.standin.idle()
    assert node["sources_shown"].value().startswith("frame 1005: ")
    assert node["clicks_shown"].value().startswith("frame 1005: none")
