"""Nuke's start, for tests: run as a program, it prints what came of it as one JSON object on its last line.

python nuke_session.py STAND-IN {gui|terminal} [CODE]: folders come from NUKE_PATH, the last one's scripts run first, as
in Nuke. The code runs afterwards, with `nuke`, `standin` and `said` at hand.
"""

import json
import os
import sys
import traceback
from typing import Any

sys.path.insert(0, sys.argv[1])
import nuke
import standin

gui = sys.argv[2] == "gui"
standin.reset(gui=gui)
said: dict = {"failed": []}
before = set(sys.modules)
try:
    standin.start(*reversed([folder for folder in os.environ["NUKE_PATH"].split(os.pathsep) if folder]))
except BaseException:  # noqa: BLE001 - what the tests look for
    said["failed"].append(traceback.format_exc())
said["modules"] = sorted(set(sys.modules) - before)
if len(sys.argv) > 3:
    exec(sys.argv[3])


def tree(menu: Any) -> list:
    return [[item.name(), tree(item)] if hasattr(item, "items") else item.name() for item in menu.items()]


if gui:
    said["menu"], said["nodes"] = tree(nuke.menu("Nuke")), tree(nuke.menu("Nodes"))
said["dialogs"] = standin.shown_texts()
said["printed"] = [text.strip() for kind, text in standin.printed() if kind == "tprint"]
said["missing_icons"] = standin.missing_icons()
said["plugin_path"] = nuke.pluginPath()
said["sys_path"] = sys.path
sys.stdout.write("\n" + json.dumps(said) + "\n")
