"""The first try with the real VOID weights: one command renders a shot, judges it and writes what to send back.

``python tests/smoke/weights.py --models DIR``: see docs/first-weights.md. It goes through the product only (`void
models`, `void render`, `void serve`); what it judges is in checks.py.
OUT gets report.txt, report.json, contact_sheet.png, logs/ and the frames. Exit code: 0 only where nothing FAILed.

With tiny random weights the picture is NOT JUDGED; everything else is. Limits on the picture are guesses until somebody
has run this: the numbers stand beside them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from void_client.errors import VoidError
from void_client.manifest import ResultManifest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers.servers import RunningServer, digests, wait_until, worker_pid
from smoke.checks import FP8_DB, SHARED_DB, Check, check, count_check, denoising_step, judge_picture, timings
from smoke.shot import Shot, make_shot, read_frames

from void_engine.contact_sheet import contact_sheet, psnr
from void_engine.interface import KEEP

VOID = [sys.executable, "-m", "void_cli.main"]


@dataclass
class Run:
    """One ``void render``. ``events``: its JSON lines; ``facts``: its manifest's."""

    name: str
    out: Path
    code: int = -1
    seconds: float = 0.0
    error: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Trial:
    """All runs on one machine and what was found. ``work``: thrown away at the end; ``data``: the servers' folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, options.out
        self.work, self.data = options.out / "work", options.out / "work" / "data"
        self.machine: dict[str, str] = {}
        self.models: list[str] = []
        self.runs: list[Run] = []
        self.checks: list[Check] = []
        self.tiny = False
        self.few = ["--option", "passes=1", "--option", f"steps={options.check_steps}"]

    def note(self, *checks: Check) -> None:
        self.checks += checks
        for each in checks:
            say(line(each))

    def render(
        self,
        name: str,
        *arguments: str,
        server: Path | None = None,
        memory: str = "",
        watch: Callable[[dict[str, Any], subprocess.Popen[str]], None] = lambda event, process: None,
    ) -> Run:
        """``void render`` as an artist would call it: on a private server, or on the one of a connection file."""
        shot, options = self.shot, self.options
        run = Run(name, self.out / name if name in PICTURES else self.work / name)
        command = [*VOID, "render", "--json", "--engine", "void", "--plate", shot.plate, "--quadmask", shot.quadmask]
        command += ["--prompt", shot.prompt, "--out", str(run.out)]
        command += ["--frames", options.frames] if options.plate and options.frames else []
        command += [part for text in options.option for part in ("--option", text)]
        command += arguments
        if server:
            command += ["--connection", str(server)]
        else:
            command += ["--data", str(self.data), "--models", str(options.models), "--device", options.device]
            command += ["--memory", memory or options.memory]
        began = time.monotonic()
        with (self.work / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
            try:
                for text in process.stdout or ():
                    event = json.loads(text)
                    run.events.append(event)
                    run.error = event["error"]["message"] if "exit_code" in event else run.error
                    watch(event, process)
            except BaseException:
                process.terminate()  # its private server ends with it
                raise
            finally:
                run.code = process.wait()
        run.seconds = time.monotonic() - began
        run.facts = ResultManifest.read(run.out).facts if run.code == 0 else {}
        self.tiny = self.tiny or "tiny" in run.facts.get("void/model.note", "")
        self.runs.append(run)
        return run

    def forget(self) -> None:
        """Drop what earlier runs have computed, so that the next one computes it again. No server runs meanwhile."""
        shutil.rmtree(self.data / "stages", ignore_errors=True)
        shutil.rmtree(self.data / "engines" / "tensors", ignore_errors=True)

    def ended_well(self, run: Run) -> bool:
        self.note(check(run.name, "exit code 0", run.code == 0, run.code, run.error or f"{run.seconds:.0f} s"))
        return run.code == 0

    def picture(self, name: str, *arguments: str) -> None:
        run = self.render(name, *arguments)
        if not self.ended_well(run):
            self.note(check(name, "picture", None, None, "no result"))
            return
        try:
            ResultManifest.read(run.out).verify(run.out)
            self.note(check(name, "manifest verifies", True, len(self.shot.frames), "files are as delivered"))
        except VoidError as error:
            self.note(check(name, "manifest verifies", False, None, str(error)))
        count = count_check(name, (number for number, *_ in self.shot.frames), run.out)
        self.note(count)
        if count.verdict == "PASS":
            self.note(*judge_picture(name, read_frames(self.shot, run.out), tiny=self.tiny))

    def same_and_resumed(self) -> None:
        """The same seed twice; then killed, another seed and cancelled, on a server that others may talk to."""
        first = self.render("same", *self.few)
        self.forget()
        second = self.render("again", *self.few)
        if not (self.ended_well(first) and self.ended_well(second)):
            return
        wanted = shas(first)
        self.note(same("again", "same seed, same digests", wanted, shas(second)))
        self.forget()
        settings = {"models": self.options.models, "devices": self.options.device, "memory": self.options.memory}
        with RunningServer(self.data, **settings) as server:
            self.killed(server, wanted)
            other = self.render("seed", *self.few, "--seed", "43", server=server.connection)
            if self.ended_well(other):
                differ = sum(wanted[number] != digest for number, digest in shas(other).items())
                self.note(check("seed", "another seed differs", differ > 0, differ, f"{differ} frames differ"))
            self.cancelled(server)

    def killed(self, server: RunningServer, wanted: dict[int, str]) -> None:
        seen: list[int] = []  # the step of the kill, then those that came after it

        def watch(event: dict[str, Any], _: subprocess.Popen[str]) -> None:
            step = denoising_step(event)
            if seen and step:
                seen.append(step)
            elif step > min(6, self.options.check_steps // 2):  # a state was saved by then, where there are 12 or more
                os.kill(worker_pid(client), signal.SIGKILL)
                seen.append(step)

        with server.client() as client:
            run = self.render("killed", *self.few, server=server.connection, watch=watch)
            died = client.metrics().get("workers_died", 0)
        if not self.ended_well(run):
            return
        text = f"killed at step {seen[0]}" if seen else "no step was seen in time: give more --check-steps"
        self.note(check("killed", "killed while denoising", bool(seen) and died == 1, died, text))
        self.note(same("killed", "resumed, same digests", wanted, shas(run)))
        if len(seen) > 1:
            self.note(check("killed", "went on, not anew", seen[1] > 1, seen[1], f"at step {seen[1]}"))

    def cancelled(self, server: RunningServer) -> None:
        began = [0.0]

        def watch(event: dict[str, Any], process: subprocess.Popen[str]) -> None:
            if not began[0] and denoising_step(event) > 1:
                began[0] = time.monotonic()
                process.send_signal(signal.SIGINT)

        with server.client() as client:
            before = client.metrics().get("workers_died", 0)
            long = [*self.few[:2], "--option", "steps=200"]
            run = self.render("cancel", *long, server=server.connection, watch=watch)
            job = next((event["job"] for event in run.events if "job" in event), "")
            wait_until(lambda: client.status(job)[0].ended, "the cancelled job's end")
            took, state = time.monotonic() - began[0], client.status(job)[0].state
            died = client.metrics().get("workers_died", 0) - before
        pace = max(timings(self.runs[-2].events)[1].values(), default=0.0)  # the other seed's, at the same size
        good = run.code == 5 and state == "cancelled" and died == 0 and took < 2 * pace + 5
        text = f"job {state}, exit code {run.code}, {took:.1f} s after Ctrl-C; a step takes {pace:.2f} s"
        self.note(check("cancel", "stops within a step", good, took, text))

    def memory_modes(self) -> None:
        """The same few steps with the weights held in each way, against the first that fits."""
        reference: Run | None = None
        for mode in ("full", "offload", "group", "fp8"):
            self.forget()
            run = self.render(f"memory_{mode}", *self.few, memory=mode)
            if run.code == 4 and "not enough memory" in run.error:
                self.note(check(run.name, "fits", None, None, run.error))
            elif self.ended_well(run) and reference is None:
                reference = run
            elif run.code == 0 and reference is not None:
                self.note(self.against(reference, run, FP8_DB if mode == "fp8" else SHARED_DB, mode == "fp8"))

    def against(self, reference: Run, run: Run, limit: float, rounded: bool) -> Check:
        pairs = zip(read_frames(self.shot, reference.out), read_frames(self.shot, run.out), strict=True)
        values = [
            psnr(*(each.result[..., :3].astype(np.float32) for each in (a, b)), a.quadmask != KEEP)
            for a, b in pairs
            if (a.quadmask != KEEP).any()
        ]
        value = min(values)
        good = None if rounded and self.tiny else value >= limit
        text = f"{value:.1f} dB in the worst frame against {reference.name} (limit {limit:.0f})"
        return check(run.name, "as the other modes", good, value, text)

    def sheet(self) -> None:
        """Six frames: plate, mask, every picture that was made, truth."""
        chosen = sorted({round(i) for i in np.linspace(0, len(self.shot.frames) - 1, 6)})
        part = Shot("", "", "", [self.shot.frames[i] for i in chosen], {})
        done = [run for run in self.runs if run.name in PICTURES and run.code == 0]
        made = {run.name: list(read_frames(part, run.out)) for run in done}
        if not made:
            return
        frames = next(iter(made.values()))
        rows: list[Any] = [("plate", [light(frame.plate) for frame in frames])]
        rows.append(("quadmask", [frame.quadmask for frame in frames]))
        rows += [(PICTURES[name], [light(frame.result) for frame in each]) for name, each in made.items()]
        truths = [light(frame.truth) for frame in frames if frame.truth is not None]
        contact_sheet([*rows, *([("truth", truths)] if truths else [])], self.out / "contact_sheet.png")

    def write(self) -> None:
        """report.txt and report.json."""
        verdicts = {v: sum(each.verdict == v for each in self.checks) for v in ("PASS", "FAIL", "NOT JUDGED")}
        lines = ["VOID: the first try with the weights", "", *(f"{k:<12} {v}" for k, v in self.machine.items()), ""]
        lines += [*self.models, ""]
        for run in self.runs:
            facts, (stages, pace) = run.facts.get("generate", {}), timings(run.events)
            lines.append(f"{run.name}: {run.seconds:.1f} s, exit code {run.code}, {json.dumps(facts)}")
            lines += [f"    {seconds:8.2f} s  {stage}" for stage, seconds in stages.items()]
            lines += [f"    {seconds:8.3f} s  a step of {name}" for name, seconds in pace.items()]
        lines += ["", *map(line, self.checks), "", ", ".join(f"{count} {v}" for v, count in verdicts.items())]
        (self.out / "report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        runs = [
            {"name": r.name, "code": r.code, "seconds": r.seconds, "error": r.error, "facts": r.facts}
            | dict(zip(("stages_s", "step_s"), timings(r.events), strict=True))
            for r in self.runs
        ]
        given = {key: str(value) for key, value in vars(self.options).items()}
        known = {"options": given, "machine": self.machine, "models": self.models, "runs": runs, "verdicts": verdicts}
        text = json.dumps({**known, "checks": [asdict(each) for each in self.checks]}, indent=2)
        (self.out / "report.json").write_text(text + "\n", encoding="utf-8")
        say("\n" + "\n".join(lines))

    def run(self) -> None:
        """All of it, in order. Raises what the script did not foresee."""
        self.machine = describe_machine()
        if not self.prepare_models():
            return
        self.shot = make_shot(self.options, self.work / "shot")
        steps = self.options.steps
        given = [f"steps={steps}", f"steps_2={steps}"] if steps else []
        arguments = [part for text in given for part in ("--option", text)]
        self.picture("draft", *arguments, "--option", "profile=draft")
        self.picture("pass1", *arguments, "--option", "passes=1")
        self.picture("both", *arguments, "--option", "passes=2")
        self.guarded(self.same_and_resumed)
        if self.options.all_memory:
            self.guarded(self.memory_modes)
        self.guarded(self.sheet)

    def guarded(self, part: Callable[[], None]) -> None:
        """What one part did not foresee is a FAIL, and the next parts still run."""
        try:
            part()
        except Exception as problem:  # noqa: BLE001 whatever happens, what was found is reported
            traceback.print_exc()
            self.note(check("script", part.__name__, False, None, f"{type(problem).__name__}: {problem}"))

    def prepare_models(self) -> bool:
        """``void models fetch``, where asked for, and ``verify``."""
        folder, accepted = ["--models", str(self.options.models)], ["--accept-licences"]
        if self.options.fetch:
            fetch = subprocess.run(
                [*VOID, "models", "fetch", *folder, *accepted * self.options.accept_licences], check=False
            )
            self.note(check("models", "fetch", fetch.returncode == 0, fetch.returncode, "void models fetch"))
        done = subprocess.run([*VOID, "models", "verify", *folder], capture_output=True, text=True, check=False)
        self.models = [*done.stdout.splitlines(), *done.stderr.splitlines()[-2:] * (done.returncode != 0)]
        states = Counter(found.split()[0] for found in done.stdout.splitlines())
        text = ", ".join(f"{count} {state}" for state, count in states.items())
        self.note(check("models", "verify", done.returncode == 0, done.returncode, text))
        return done.returncode == 0


PICTURES = {"draft": "draft", "pass1": "pass 1", "both": "pass 2"}


def light(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., :3].astype(np.float32)


def shas(run: Run) -> dict[int, str]:
    return digests(ResultManifest.read(run.out))


def same(run: str, name: str, wanted: dict[int, str], found: dict[int, str]) -> Check:
    other = sum(found.get(number) != digest for number, digest in wanted.items())
    return check(run, name, other == 0, other, f"{other} of {len(wanted)} frames differ")


def describe_machine() -> dict[str, str]:
    """GPU, driver and versions. Torch is asked in another process: this one must take nothing of the GPU's memory."""
    ask = "import torch; c = torch.cuda; n = c.is_available(); print(torch.version.cuda, n and c.get_device_name())"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    machine = {"system": platform.platform(), "python": platform.python_version(), "cpu cores": str(os.cpu_count())}
    machine["torch's CUDA"] = told.stdout.strip() or told.stderr.strip()[-200:]
    machine["gpu"] = "no nvidia-smi"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        machine["gpu"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    for name in ("void-nuke", "torch", "diffusers", "transformers", "accelerate", "numpy", "OpenImageIO"):
        machine[name] = importlib.metadata.version(name)
    return machine


def line(each: Check) -> str:
    return f"{each.verdict:<10}  {each.run:<14} {each.name:<26} {each.text}"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", type=Path, required=True, help="the folder of the weights")
    add("--fetch", action="store_true", help="`void models fetch` first")
    add("--accept-licences", action="store_true", help="you have read the models' licences and accept them")
    add("--device", default="cuda:0", help="cuda:0, or cpu")
    add("--out", type=Path, default=Path(time.strftime("first-weights-%Y%m%d-%H%M%S")), help="a new folder")
    add("--plate", help="a shot of your own: its frames' pattern, with --quadmask and --prompt")
    add("--quadmask")
    add("--prompt")
    add("--shot", help="a shot of ../shared/shots, such as lime")
    add("--size", default="1280x720", help="of the synthetic shot")
    add("--frames", help="how many (72; 120 makes several windows); of --plate the range, such as 1001-1046")
    add("--steps", type=int, default=0, help="denoising steps of both passes (the engine's own)")
    add("--check-steps", type=int, default=12, help="steps of the runs that are compared, killed and so on (12)")
    add("--option", action="append", default=[], metavar="KEY=VALUE", help="for `void render`")
    add("--memory", default="auto", help="how the weights are held")
    add("--all-memory", action="store_true", help="compare full, offload, group and fp8, too")
    add("--keep", action="store_true", help="keep OUT/work: the shot, the server's folder, the small runs")
    options = parser.parse_args(arguments)
    options.models, options.out = options.models.absolute(), options.out.absolute()
    if options.plate and not (options.quadmask and options.prompt):
        parser.error("--plate needs --quadmask and --prompt")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty: choose another --out")
    return options


def main(arguments: list[str] | None = None) -> int:
    # A shell that runs this in the background has SIGINT ignored, and the product would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trial = Trial(read_options(arguments))
    trial.work.mkdir(parents=True)
    try:
        trial.guarded(trial.run)
    except KeyboardInterrupt:
        trial.note(check("script", "came to its end", False, None, "interrupted"))
    finally:
        logs = trial.out / "logs"
        logs.mkdir()
        for path in [*trial.work.glob("*.log"), *trial.data.glob("*.log")]:
            shutil.copy(path, logs)
        trial.write()
        if not trial.options.keep:
            shutil.rmtree(trial.work)
    return int(any(each.verdict == "FAIL" for each in trial.checks))


if __name__ == "__main__":
    sys.exit(main())
