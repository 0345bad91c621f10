"""The first try with a real key: the reasoner gemini on a small synthetic clip, a report, and what it cost.

``GEMINI_API_KEY=... python tests/smoke/gemini.py``: see docs/reasoning.md. It sends a drawn ball that rolls through a
drawn room, three times at most: as a job would, with the clip through the Files API, and once more for the cache, which
must send nothing. OUT gets report.txt, report.json, the analysis and what was sent. Exit code 0 where nothing FAILed.

Never run on the real service so far: the machines of this project cannot reach it, and it has no key. The same script
runs in the tests against a server on the same machine (``--base-url``).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from void_client.errors import VoidError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from smoke.checks import Check, check

from void_engine.colour.shaper import Shaper
from void_engine.interface import OVERLAP, REMOVE
from void_engine.reasoning import Analysis, ReasonRequest, samples
from void_engine.reasoning.analysis_json import analysis_to_json
from void_engine.reasoning.gemini import DEFAULT_MODEL, DEFAULT_URL, GeminiReasoner
from void_engine.reasoning.interface import PRIMARY
from void_engine.segmentation import MatteStore
from void_engine.segmentation.pictures import shrink
from void_engine.synthetic import render_shot

WIDTH, HEIGHT, FRAMES, RATE = 640, 360, 48, 24.0


class Drawn:
    """`void_engine.segmentation.Pictures` of the synthetic shot; its mattes go into ``mattes``."""

    def __init__(self, mattes: MatteStore, frames: int) -> None:
        self._pictures = []
        for position, made in enumerate(render_shot(WIDTH, HEIGHT, frames, seed=7)):
            self._pictures.append((Shaper().to_display(made.plate) * 255 + 0.5).astype(np.uint8))
            removed = np.isin(made.quadmask, (REMOVE, OVERLAP)).astype(np.float32)
            mattes.write(PRIMARY, position, removed)

    size = (HEIGHT, WIDTH)

    def __len__(self) -> int:
        return len(self._pictures)

    def rgb(self, position: int) -> np.ndarray:
        return self._pictures[position]

    def proxy(self, position: int, long_side: int) -> np.ndarray:
        return shrink(self._pictures[position], long_side)


class Trial:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.checks: list[Check] = []
        self.facts: dict[str, dict[str, Any]] = {}
        mattes = MatteStore(options.out / "mattes", (HEIGHT, WIDTH))
        pictures = Drawn(mattes, options.frames)
        numbers = tuple(range(1001, 1001 + options.frames))
        self.request = ReasonRequest(
            pictures, numbers, mattes, options.out / "scratch", "a ball that rolls over the floor", RATE
        )

    def note(self, run: str, name: str, good: bool | None, text: str, number: float | None = None) -> None:
        self.checks.append(check(run, name, good, number, text))
        each = self.checks[-1]
        say(f"{each.verdict:<10}  {each.run:<10} {each.name:<28} {each.text}")

    def run(self) -> None:
        analysis = self.asked("inline")
        if analysis is None:
            return
        self.judge(analysis)
        (self.options.out / "analysis.json").write_text(analysis_to_json(analysis))
        shown = samples.plan(self.request, 10, quiet)
        for index, still in enumerate(samples.stills(self.request, shown)):
            (self.options.out / f"sent.{index:02d}.jpg").write_bytes(still.jpeg)
        again = self.asked("cached")
        self.note(
            "cached", "nothing sent again", self.facts["cached"].get("cached") is True, "from the folder of answers"
        )
        self.note("cached", "the same analysis", again == analysis, "")
        self.asked("upload", inline_bytes=0, answers=None)
        sent = int(self.facts["upload"].get("uploaded_bytes", 0))
        self.note("upload", "the clip went by Files API", sent > 0, f"{sent} bytes")

    def asked(self, run: str, **options: Any) -> Analysis | None:
        options = {"answers": self.options.out / "answers", **options}
        gemini = GeminiReasoner(model=self.options.model, base_url=self.options.base_url, **options)
        started = time.monotonic()
        try:
            gemini.check()
            analysis = gemini.reason(self.request, quiet)
        except VoidError as error:
            self.note(run, "an answer", False, f"{error.code}: {error}")
            return None
        finally:
            self.facts[run] = gemini.facts
        seconds = time.monotonic() - started
        facts = gemini.facts
        cost = f"{facts['tokens_in']} tokens in, {facts['tokens_out']} out{self.priced(facts)}, {facts['calls']} calls"
        self.note(run, "an answer", True, f"{cost}, {seconds:.1f} s", seconds)
        return analysis

    def priced(self, facts: dict[str, Any]) -> str:
        per_in, per_out = self.options.price_in, self.options.price_out
        if per_in is None or per_out is None:
            return ""
        return f" = {(facts['tokens_in'] * per_in + facts['tokens_out'] * per_out) / 1e6:.4f} of your currency"

    def judge(self, analysis: Analysis) -> None:
        """What any useful answer has to say of this shot."""
        nouns = ", ".join(thing.noun for thing in analysis.affected) or "nothing"
        shadows = [thing for thing in analysis.affected if "shadow" in thing.noun.lower()]
        self.note("inline", "the shadow is named", bool(shadows), f"affected: {nouns}")
        self.note("inline", "as an artifact", any(each.category == "artifact" for each in shadows), "")
        regions = [region for each in shadows for region in each.regions]
        low = [region for region in regions if region.y1 > 0.5]
        self.note("inline", "low in the picture", bool(low), f"{len(low)} of {len(regions)} rectangles")
        frames = {region.frame for region in regions}
        self.note("inline", "at several times", len(frames) >= 3, f"{len(frames)} frames", len(frames))
        self.note("inline", "the scene in words", bool(analysis.scene), analysis.scene[:100])
        self.note("inline", "without the ball", "ball" not in analysis.scene.lower(), "")
        self.note("inline", "no warnings", None if analysis.warnings else True, "; ".join(analysis.warnings)[:200])

    def write(self) -> None:
        versions = {name: importlib.metadata.version(name) for name in ("void-nuke", "google-genai", "httpx2", "av")}
        head = {"model": self.options.model, "base_url": self.options.base_url, **versions}
        report = {**head, "facts": self.facts, "checks": [asdict(each) for each in self.checks]}
        (self.options.out / "report.json").write_text(json.dumps(report, indent=1))
        count = {word: sum(each.verdict == word for each in self.checks) for word in ("PASS", "FAIL", "NOT JUDGED")}
        lines = [f"{name}: {value}" for name, value in head.items()]
        lines += [f"{each.verdict:<10}  {each.run:<10} {each.name:<28} {each.text}" for each in self.checks]
        lines.append(", ".join(f"{number} {word}" for word, number in count.items()))
        (self.options.out / "report.txt").write_text("\n".join(lines) + "\n")
        say(lines[-1])


def quiet(done: int, of: int, what: str) -> None: ...


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--base-url", default=DEFAULT_URL)
    parser.add_argument("--out", type=Path, default=Path(time.strftime("first-gemini-%Y%m%d-%H%M%S")))
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--price-in", type=float, help="of a million tokens in, in your currency")
    parser.add_argument("--price-out", type=float, help="of a million tokens out")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty: choose another --out")
    trial = Trial(options)
    try:
        trial.run()
    finally:
        trial.write()
    return int(any(each.verdict == "FAIL" for each in trial.checks))


if __name__ == "__main__":
    sys.exit(main())
