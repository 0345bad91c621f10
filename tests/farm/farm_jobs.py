"""Jobs whose text is known: a script's three nodes, and shots for a studio's own servers. Files lie under a folder."""

from __future__ import annotations

from pathlib import Path

from void_client.farm_job import FarmJob, FarmRender, FarmShot
from void_client.job import MaskFile, ShotFile

FIRST, LAST = 1001, 1046


def script_job(project: Path) -> FarmJob:
    """Two nodes that a model solves, one that needs no GPU, and the script's frames."""
    plate = _frames(project / "plates" / "sh010.%04d.exr", (FIRST, FIRST + 1))
    mask = _frames(project / "masks" / "affected.%04d.exr", (FIRST,))
    results = (project / "void").as_posix()

    def node(name: str, engine: str, seed: int, masks: MaskFile) -> FarmShot:
        link = f"{results}/sh010/{name}/farm/0123456789ab"
        return FarmShot(
            name,
            ShotFile(
                plate, frames=f"{FIRST}-{FIRST + 1}", engine=engine, seed=seed, shot="sh010", masks=masks,
                results=results, node=name, link=link,
            ),
        )  # fmt: skip

    shots = (
        node("VOID1", "void", 7, MaskFile(words="the red car")),
        node("Group1.VOID1", "cleanplate", 8, MaskFile(affected=mask)),
        node("VOID2", "void", 42, MaskFile(words="its shadow: \"soft\", and 'long'")),
    )
    render = FarmRender("sh010_comp_v003.nk", f"{FIRST}-{LAST}", chunk_size=10)
    return FarmJob("sh010_comp_v003", shots, render, priority=60, gpu_memory_mb=40 * 1024)


def shots_job(project: Path) -> FarmJob:
    """Two shots that the studio's own servers solve; nothing is rendered."""
    plate = _frames(project / "plates" / "sh020.%04d.exr", (1, 2, 3))
    quadmask = _frames(project / "masks" / "sh020.%04d.exr", (1, 2, 3))
    shots = tuple(
        FarmShot(name, ShotFile(plate, quadmask, seed=seed, out=(project / "out" / name).as_posix()))
        for name, seed in (("sh020_a", 42), ("sh020_b", 43))
    )
    return FarmJob("night shots", shots, server=True, retries=1, void="/opt/void/bin/void", solve_timeout_s=90)


def _frames(pattern: Path, numbers: tuple[int, ...]) -> str:
    pattern.parent.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Path(pattern.as_posix() % number).write_bytes(b"EXR")
    return pattern.as_posix()
