"""Nuke's stand-in for the tests of this folder: `nuke` is a program just started, with an empty script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
for folder in (TESTS / "nuke_standin", TESTS / "nuke", TESTS.parent / "nuke_plugin"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def standin() -> Iterator[Any]:
    """The test's side of the stand-in: pump, press, dialogs …; a GUI session unless `reset` says otherwise."""
    import standin as module

    path = list(sys.path)
    module.reset()
    yield module
    sys.path[:] = path
    module.reset()


@pytest.fixture
def nuke(standin: Any) -> Any:
    """The module `nuke` in a fresh GUI session. Breaches of the thread rules fail the test, even when swallowed."""
    import nuke as module

    yield module
    assert not standin.violations()
