"""VOID for Nuke, launcher: runs the version that the file `current` names. `void nuke install` wrote it; do not edit.

Promises: whatever fails is told in one line, and Nuke goes on.
"""


def _run(name):
    import importlib.util
    import os

    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "current")) as file:
        version = file.read().strip()
    path = os.path.join(here, os.path.basename(version), name)
    if not version or not os.path.isfile(path):
        raise RuntimeError(here + " has no version '" + version + "': see `void nuke list` and `void nuke switch`")
    spec = importlib.util.spec_from_file_location("void_nuke_launcher_" + name[:-3], path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


try:
    _run("init.py")
except Exception as _problem:  # noqa: BLE001 - nothing of VOID may stop Nuke
    import sys as _sys

    _sys.stderr.write("VOID could not be loaded: " + str(_problem).replace("Error:", "Error -") + "\n")
