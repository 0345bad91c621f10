"""A result takes its folder whole, however often it is interrupted, and takes nothing that is not a result's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from void_client.errors import InputError
from void_client.incoming import replace_result
from void_client.manifest import MANIFEST, ResultFrame, ResultManifest

NUMBERS = (1001, 1002, 1003, 1004)


def take(folder: Path, word: str, numbers: tuple[int, ...] = NUMBERS) -> ResultManifest:
    """A result whose frames say ``word``."""
    data = {number: f"{word} {number}".encode() for number in numbers}
    frames = tuple(
        ResultFrame(number, f"plate.{number}.exr", hashlib.sha256(text).hexdigest(), len(text))
        for number, text in data.items()
    )
    manifest = ResultManifest(word, hashlib.sha256(word.encode()).hexdigest(), frames, {})

    def bring(incoming: Path) -> list[Path]:
        paths = [incoming / frame.name for frame in frames]
        for path, text in zip(paths, data.values()):
            path.write_bytes(text)
        return paths

    replace_result(folder, manifest, bring)
    return manifest


def interrupted(folder: Path, word: str, after: int, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Ctrl-C once ``after`` frames have their names."""
    moved, real = [], Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target).suffix == ".exr":
            if len(moved) == after:
                raise KeyboardInterrupt
            moved.append(target)
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            take(folder, word, numbers or NUMBERS)
    assert not (folder / MANIFEST).exists()  # half a result does not look ready


def check(folder: Path, manifest: ResultManifest) -> None:
    ResultManifest.read(folder).verify(folder)
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *(frame.name for frame in manifest.frames)}


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("then", ["new", "another"])
def test_what_was_interrupted_over_an_earlier_result_is_finished_by_the_next(tmp_path, monkeypatch, after, then):
    take(tmp_path, "old")
    interrupted(tmp_path, "new", after, monkeypatch)
    check(tmp_path, take(tmp_path, then))


def test_one_interrupted_again_and_again_leaves_nothing_of_any(tmp_path, monkeypatch):
    take(tmp_path, "old", (*NUMBERS, 1005))
    interrupted(tmp_path, "one", 2, monkeypatch)
    interrupted(tmp_path, "two", 1, monkeypatch, *NUMBERS, 1006)
    interrupted(tmp_path, "three", 2, monkeypatch, 1006, 1007, 1008)
    check(tmp_path, take(tmp_path, "last", (1002, 1003)))


def test_a_first_result_that_was_interrupted_gives_way_to_another(tmp_path, monkeypatch):
    interrupted(tmp_path, "one", 2, monkeypatch)
    check(tmp_path, take(tmp_path, "another"))


def test_a_plate_that_came_meanwhile_is_not_taken_for_a_result(tmp_path, monkeypatch):
    take(tmp_path, "old", (*NUMBERS, 1005))
    interrupted(tmp_path, "new", 1, monkeypatch)
    for name in ("plate.1003.exr", "plate.1005.exr"):
        (tmp_path / name).write_bytes(b"a plate")
    with pytest.raises(InputError, match=r"plate\.1003\.exr is there already"):
        take(tmp_path, "new")
    (tmp_path / "plate.1003.exr").unlink()
    take(tmp_path, "new")
    assert (tmp_path / "plate.1005.exr").read_bytes() == b"a plate"


@pytest.mark.parametrize("record", ["", "[1]", '{"plate.1001.exr": 3}', "\x00"])
def test_a_record_that_cannot_be_read_takes_nothing(tmp_path, record):
    (tmp_path / ".void-replacing.json").write_text(record)
    (tmp_path / "plate.1001.exr").write_bytes(b"a plate")
    with pytest.raises(InputError):
        take(tmp_path, "new")
    assert (tmp_path / "plate.1001.exr").read_bytes() == b"a plate"
