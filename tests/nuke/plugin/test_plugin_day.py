"""The artist's day: from a Read to a rendered shot, against a real server."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from small_shots import FIRST, LAST, REPOSITORY, Server, read_exr, write_matte
from void_client.client import Client
from void_nuke.node import VoidNode

FAKE_NUKE = REPOSITORY / "tests" / "nuke_standin" / "fake-nuke"


def received(server: Server) -> int:
    with Client(server.settings) as client:
        return int(client.metrics()["frame_bytes_received"])


def stages(server: Server, job_id: str) -> dict[str, str]:
    """Stage → how its last run ended."""
    with Client(server.settings) as client:
        events = [event for event in client.events(job_id) if event.kind == "stage"]
    return {event.data["stage"]: event.data["state"] for event in events}


def test_a_click_becomes_a_clean_plate(artist, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    assert node["status"].value() == "not solved"
    artist.click(node)
    assert artist.solve(node).startswith("ready v001")
    assert artist.said() == []
    assert (node["result_first"].value(), node["result_last"].value()) == (FIRST, LAST)
    assert node["version"].value() == "v001"
    assert VoidNode(node).state.label() == "ready v001"


def test_the_day(artist, standin, server, plate, tmp_path, no_swallowed):
    """Click, review, correct with a matte on input 2, solve again, approve, save, close, reopen."""
    nuke = artist.nuke
    read = artist.read(plate)
    node = artist.void(read)
    artist.click(node)
    status = artist.solve(node, "masks ready")
    assert status.startswith("masks ready. The quadmask is shown. Look at it, correct it or press Approve.")
    assert node["output"].value() == "composite"
    assert node.node("OutputSwitch")["which"].value() == 2
    assert (node["mask_first"].value(), node["mask_last"].value()) == (1001, 1006)
    assert "/masks/" in node["mask_file"].value()
    assert region(node, "primary", 24 + 9 * 2, 27, 1003) == 1.0
    assert region(node, "primary", 2, 2, 1003) == 0.0
    first_job, sent = node["job_id"].value(), received(server)

    matte = artist.read(write_matte(tmp_path / "shadow", (30, 40, 60, 50)))
    node.setInput(2, matte)
    status = artist.solve(node, "masks ready")
    second_job = node["job_id"].value()
    assert second_job != first_job
    assert region(node, "affected", 45, 54 - 45, 1003) == 1.0
    mattes = sum(path.stat().st_size for path in (artist.project / "void").rglob("affected.*.exr"))
    assert 0 < received(server) - sent <= mattes, "only the matte was sent"
    with Client(server.settings) as client:
        assert client.status(first_job)[0].state == "cancelled", "nobody will approve the first one"

    artist.press(node, "approve")
    artist.wait(node, "ready")
    assert node["output"].value() == "composite"
    assert node["mask_file"].value() == ""
    assert stages(server, second_job)["segment"] == "cached"

    result = node["result_file"].value()
    write = artist.write(node, tmp_path / "comp")
    assert write["disable"].value() is False
    script = artist.project / "sh010_comp_v002.nk"
    nuke.scriptSaveAs(script.as_posix(), 1)
    nuke.scriptClear()
    nuke.scriptOpen(script.as_posix())
    standin.pump()
    again = nuke.toNode("VOID1")
    assert again["result_file"].value() == result
    assert again["status"].value().startswith("ready v001")
    assert artist.said() == []
    render_without_plugin(script)
    outside_is_the_plate(plate, tmp_path / "comp", result)


def render_without_plugin(script: Path) -> None:
    """On a farm machine: neither plugin nor server, nothing of ours in the environment."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")}
    done = subprocess.run(
        [sys.executable, str(FAKE_NUKE), "-x", str(script), "1001-1006"],
        env=kept,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def outside_is_the_plate(plate: str, folder: Path, result: str) -> None:
    """Bit for bit where the result's matte is 0; and something else where it is 1."""
    changed = 0
    for frame in range(FIRST, LAST + 1):
        before, _ = read_exr(Path(plate % frame))
        after, _ = read_exr(folder / f"comp.{frame:04d}.exr")
        matte, _ = read_exr(Path(result % frame))
        inside = [value > 0 for value in halves(matte["void_matte.generated"])]
        assert any(inside)
        for channel in "RGB":
            old, new = halves(before[channel]), halves(after[channel])
            assert all(a == b for a, b, within in zip(old, new, inside) if not within)
            changed += sum(a != b for a, b, within in zip(old, new, inside) if within)
    assert changed > 1000


def halves(data: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(data) // 2}e", data)


def region(node: Any, name: str, x: int, y: int, frame: int) -> float:
    """The quadmask in review, at a pixel that Nuke counts from the lower left."""
    return float(node.node("MaskRead").sample(f"void_quadmask.{name}", x + 0.5, y + 0.5, 1, 1, frame))
