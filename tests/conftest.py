"""The order of the test files: those that take longest first.

`make test` gives whole files to its processes (`--dist loadfile --no-loadscope-reorder`): a long file that came last
would keep one process busy while the others have nothing left. Only time depends on this list.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_LONGEST = (
    "server/test_void_engine.py",
    "server/test_durability.py",
    "server/test_farm_render.py",
    "server/test_choosing.py",
    "engine/test_cleanplate.py",
    "engine/test_cleanplate_camera.py",
    "engine/test_cleanplate_standing.py",
    "engine/diffusion/test_production.py",
    "engine/test_any_plate.py",
    "server/test_masks.py",
    "server/test_real_shots.py",
    "server/test_provenance.py",
    "server/test_cli_compare.py",
    "server/test_campaign.py",
    "engine/reasoning/test_motion.py",
    "engine/reasoning/test_motion_touch.py",
    "engine/diffusion/test_resume.py",
    "engine/diffusion/test_cache.py",
    "engine/diffusion/test_progress.py",
    "engine/diffusion/test_engine.py",
    "engine/diffusion/test_upstream.py",
    "engine/diffusion/test_independent.py",
    "engine/grain/test_grain_measure.py",
    "engine/restore/test_detail.py",
    "engine/segmentation/test_track.py",
    "engine/segmentation/test_track_attacks.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    rank = {here / name: index for index, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))  # stable: the others stay as they are
