"""The job of `farm_jobs.script_job` as real pyoutline writes it, on stdout: `pyoutline-1.37.0.xml` beside this file.

Not run by the tests unless ``VOID_PYOUTLINE_PYTHON`` names a Python that has it:
``pip install opencue-pyoutline==1.37.0 packaging``. Its commands are ours; all else is pyoutline's.
"""

from __future__ import annotations

import sys

import outline
import outline.backend.cue
import outline.cuerun
import outline.modules.shell
import outline.util
from outline.depend import DependType

FOLDER = "/PROJECT/farm/job"


def main() -> None:
    outline.config.set("outline", "spec_version", "1.15")
    outline.util.get_uid = lambda: 1000
    job = outline.Outline("sh010_comp_v003", shot="sh010", show="testing", user="ada", name_unique=False)
    job.set_env("foundry_LICENSE", "4101@licences", True)
    void = ["void", "render", f"{FOLDER}/shots/#ZFRAME#.yaml", "--local"]
    lent = ["env", "${CUE_GPU_CORES:+CUDA_VISIBLE_DEVICES=$CUE_GPU_CORES}"]
    solve = {"chunk": 1, "cores": 4, "memory": "16g", "timeout": 360, "service": "void"}
    solves = [
        _layer("void_solve", [*lent, *void, "--device", "cuda:0"], "1-2", gpus=1, gpu_memory="40g", **solve),
        _layer("void_solve_cpu", void, "3", **solve),
    ]
    nuke = ["nuke", "-F", "#FRAME_START#-#FRAME_END#", "-x", f"{FOLDER}/sh010_comp_v003.nk"]
    render = {"cores": 4, "memory": "8g", "timeout": 240, "service": "nuke"}
    renders = [
        _layer("render", nuke, "1001-1040", chunk=10, **render),
        _layer("render_2", nuke, "1041-1046", chunk=6, **render),
    ]
    for layer in (*solves, *renders):
        job.add_layer(layer)
    for waits in renders:
        for on in solves:
            waits.depend_on(on, DependType.LayerOnLayer)
    launcher = outline.cuerun.OutlineLauncher(
        job, facility="local", nomail=True, priority=60, maxretries=2, pause=False, autoeat=False
    )
    sys.stdout.write(outline.backend.cue.serialize_simple(launcher) + "\n")


def _layer(name: str, command: list[str], frames: str, **options: object) -> outline.modules.shell.Shell:
    return outline.modules.shell.Shell(name, command=command, range=frames, **options)


if __name__ == "__main__":
    main()
