"""Under `nuke -t`: a comp with VOID nodes on one plate, one of them corrected by an override, submitted to the farm.

Arguments: the project's folder, and JSON: ``shots`` (3), ``frames`` on disk. Last line: JSON of what was made.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nuke
from small_shots import FIRST, HEIGHT, LAST, centre, write_plate
from void_nuke import actions, farm
from void_nuke.node import VoidNode, all_nodes

SIDECAR = """\
{uuid}:
  overrides:
    - {{frames: {first}-{last}, region: keep, mode: replace, shape: {{rectangle: [0, 0, 20, {height}]}}}}
    - {{frames: 1002, region: remove, mode: add, shape: {{ellipse: [70, 20, 6, 6]}}}}
"""


def main(project: Path, shots: int, missing: int) -> None:
    project.mkdir(parents=True, exist_ok=True)
    pattern = write_plate(project / "plate")
    script = project / "sh010_comp_v001.nk"
    nuke.scriptSaveAs(script.as_posix(), 1)
    root = nuke.root()
    root["first_frame"].setValue(FIRST)
    root["last_frame"].setValue(LAST)
    read = nuke.nodes.Read(file=pattern, first=FIRST, last=LAST, origfirst=FIRST, origlast=LAST, raw=True)
    for index in range(shots):
        for selected in nuke.selectedNodes():  # else the new node goes between the last one and its Write
            selected.setSelected(False)
        node = nuke.createNode("VOID", inpanel=False)
        node.setInput(0, read)
        nuke.frame(1003)
        x, y = centre(1003)
        node["point"].setValue([x, HEIGHT - y])
        actions.add_point(node, True)
        node["seed"].setValue(7 + index)
        out = project / "out" / f"comp{index + 1}.%04d.exr"
        write = nuke.nodes.Write(file=out.as_posix(), channels="all", file_type="exr", raw=True)
        write["datatype"].setValue("32 bit float")
        write["create_directories"].setValue(True)
        write.setInput(0, node)
    first = all_nodes()[0]
    text = SIDECAR.format(uuid=first.uuid, first=FIRST, last=LAST, height=HEIGHT)
    script.with_suffix(".void.yaml").write_text(text, encoding="utf-8")
    nuke.scriptSave()
    if missing:
        (project / "plate" / f"plate.{missing}.exr").rename(project / "plate" / "late.exr")
    before = script.read_bytes()
    done = farm.submit()
    assert script.read_bytes() == before
    links = {node.name: "" if node.text("result_file") else "none" for node in all_nodes()}
    said = {"script": str(script), "bundle": str(done.folder), "solved": done.solved, "kept": done.kept, "links": links}
    sys.stdout.write(json.dumps({**said, "uuids": {node.name: node.uuid for node in all_nodes()}}) + "\n")


if __name__ == "__main__":
    given = json.loads(sys.argv[-1])
    main(Path(sys.argv[-2]), int(given.get("shots", 3)), int(given.get("missing", 0)))
    assert all(isinstance(node, VoidNode) for node in all_nodes())
