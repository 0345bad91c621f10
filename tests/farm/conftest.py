"""A farm on this machine: Open Job Description's own command line, the published adaptor, and Nuke's stand-in.

They live in a venv of their own (`make farm-test`): no VOID is installed there, so that what renders has neither plugin
nor server.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from farm_tools import Farm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Farm:
    """Skips where there is no farm venv, and fails there in CI."""
    venv = Path(os.environ.get("VOID_FARM_VENV") or ROOT / ".venvs" / "farm")
    if not (venv / "bin" / "openjd").is_file():
        reason = f"no OpenJD in {venv}: `make farm-test` installs it"
        if os.environ.get("VOID_FARM_VENV"):
            pytest.fail(reason)
        pytest.skip(reason)
    for name in list(os.environ):
        if name.startswith("VOID_") and name not in ("VOID_FARM_VENV", "VOID_TEST_SERVER_PYTHON"):
            monkeypatch.delenv(name)
    return Farm(venv, tmp_path)
