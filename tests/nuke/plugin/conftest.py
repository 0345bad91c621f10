"""The plugin's folder, and the stand-in for Nuke, importable on every Python."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
for _folder in (_ROOT / "nuke_plugin", _ROOT / "tests" / "nuke_standin"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
