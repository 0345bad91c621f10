"""Under `nuke -t`: every VOID node of a script solved by the artist's own server. Last line: JSON, name → digests.

Arguments: the script, and a folder in place of the results' own, so that nothing of the farm's is found.
"""

from __future__ import annotations

import json
import os
import sys

import nuke
from void_nuke import actions
from void_nuke.node import all_nodes

if __name__ == "__main__":
    os.environ["VOID_NUKE_RESULTS"] = sys.argv[-1]
    nuke.scriptOpen(sys.argv[-2])
    made = {}
    for void in all_nodes():
        version = actions.solve_headless(void.node)
        made[void.name] = {str(frame.number): frame.sha256 for frame in version.manifest.frames}
    sys.stdout.write(json.dumps(made) + "\n")
