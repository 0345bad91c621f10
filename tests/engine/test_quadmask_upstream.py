"""Upstream's quadmask rules: exact on what upstream computed, and sane where nothing was recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.reference import reference_folder

from void_engine.quadmask import along_path, combine, gridded, near
from void_engine.quadmask.upstream import grid_size

CASES = [f"case{i}" for i in range(5)]


@pytest.fixture(scope="module")
def recorded() -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    folder = reference_folder()
    if folder is None:
        pytest.skip("../shared/reference is not here")
    with np.load(folder / "quadmask_cases.npz", allow_pickle=False) as archive:
        tensors = {name: archive[name] for name in archive.files}
    notes = json.loads((folder / "quadmask_cases.json").read_text())
    return tensors, {each["case"]: each for each in notes}


@pytest.mark.parametrize("case", CASES)
def test_each_rule_is_upstreams(recorded, case):
    tensors, notes = recorded
    primary, affected = tensors[f"{case}_primary"], tensors[f"{case}_affected"]
    note = notes[case]
    close = near(affected.any(axis=0), primary, note["proximity_dilation"])
    assert np.array_equal(close, tensors[f"{case}_near_primary"])
    cells = gridded(close, note["min_grid"])
    assert np.array_equal(cells, tensors[f"{case}_gridded"])
    assert np.array_equal(combine(primary, cells), tensors[f"{case}_quadmask"])
    carried = along_path(affected[0][0], note["trajectory_points"], len(primary))
    assert np.array_equal(carried, tensors[f"{case}_trajectory_mask"])
    assert grid_size(*primary.shape[1:], note["min_grid"]) == (note["grid_rows"], note["grid_cols"])


@pytest.mark.parametrize("size", [(8, 8), (9, 17), (37, 101), (101, 37), (64, 65), (384, 672)])
@pytest.mark.parametrize("cells", [1, 3, 8])
def test_cells_cover_the_picture_and_hold_the_mask(size, cells):
    rng = np.random.default_rng(1)
    mask = rng.random((2, *size)) > 0.99
    filled = gridded(mask, cells)
    assert filled.shape == mask.shape
    assert not (mask & ~filled).any()
    assert np.array_equal(gridded(filled, cells), filled)
    rows, columns = grid_size(*size, cells)
    for row in range(rows):  # the plain definition, cell by cell
        for column in range(columns):
            ys = slice(int(row * size[0] / rows), int((row + 1) * size[0] / rows))
            xs = slice(int(column * size[1] / columns), int((column + 1) * size[1] / columns))
            assert np.array_equal(filled[:, ys, xs].all(axis=(1, 2)), mask[:, ys, xs].any(axis=(1, 2)))


def test_a_path_beyond_the_edge_is_cut_off_there():
    box = np.zeros((20, 30), bool)
    box[5:9, 5:9] = True
    carried = along_path(box, [(0, 0), (29, 19), (100, 100), (-50, -50)], 4)
    assert carried[0].sum() == 4
    assert carried[1].sum() == 9
    assert not carried[2:].any()


def test_one_frame_and_nothing_to_carry():
    box = np.zeros((20, 30), bool)
    assert not along_path(box, [(1, 1)], 3).any()
    box[5:9, 5:9] = True
    assert along_path(box, [(7, 7), (20, 10)], 1)[0, 5:9, 5:9].all()
    assert not along_path(box, [], 2).any()


def test_masks_of_two_shapes_and_grids_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        combine(np.zeros((2, 4, 4), bool), np.zeros((2, 4, 5), bool))
    with pytest.raises(ValueError, match="do not fit"):
        gridded(np.zeros((1, 4, 9), bool), 8)
