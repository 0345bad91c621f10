"""How far a studio's GPUs go in a night, and what breaks first: tables, and the pictures of docs/scale.md.

``python tests/benchmarks/scale.py [--pictures FOLDER]``. Nothing is measured here: `scale_model.Times` says which stage
times were measured and which are assumed, and ``--set name=value`` changes them.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from scale_model import Done, Night, Studio, Times, generate_s, run, windows

HEAD = f"{'':<38}solves/h  wait 50  wait 95  whole 95   busy  GPU h/shot  $/shot  GB/s  night h"


def share(values: list[float], at: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(at * len(ordered)))]


def line(name: str, night: Night, studio: Studio, done: Done) -> str:
    """One studio's night. Waits and whole in minutes. $: all devices for as long as the night lasted."""
    hours = done.end_s / 3600.0
    devices = studio.hosts * studio.devices
    minutes = [share(done.waits, 0.5) / 60, share(done.waits, 0.95) / 60, share(done.whole, 0.95) / 60]
    price = devices * hours * studio.device_hour / night.shots
    return (
        f"{name:<38}{len(done.whole) / hours:8.0f} {minutes[0]:8.1f} {minutes[1]:8.1f} {minutes[2]:9.1f} "
        f"{done.busy_s / max(1e-9, done.held_s):6.0%} {done.held_s / 3600 / night.shots:11.3f} {price:7.2f} "
        f"{done.storage_mb / 1000 / max(1.0, done.end_s):5.2f} {hours:8.1f}"
    )


def sizes(times: Times) -> None:
    """From ten shots and a card to ten thousand and five hundred."""
    print(f"\nGrowing: warm servers, caches, 4 devices a host (1 device: 1 host)\n{HEAD}")
    for shots, devices in (
        (10, 1),
        (10, 2),
        (100, 4),
        (100, 16),
        (1000, 16),
        (1000, 64),
        (10000, 100),
        (10000, 250),
        (10000, 500),
    ):
        studio = Studio(hosts=max(1, devices // 4), devices=min(devices, 4))
        night = Night(shots)
        print(line(f"{shots} shots, {devices} devices", night, studio, run(night, studio, times)))


def choices(times: Times) -> None:
    """What each idea is worth, one at a time."""
    night, base = Night(1200), Studio(hosts=4, devices=4)
    print(f"\nChoices: 1200 shots, 4 hosts of 4 devices\n{HEAD}")
    for name, changed in (
        ("warm, caches", {}),
        ("cold: weights loaded for every task", {"warm": False}),
        ("no caches", {"cache": False}),
        ("windows spread over idle devices", {"spread": True}),
        ("next job's reading beside generation", {"overlap": True}),
        ("all of it", {"spread": True, "overlap": True}),
        ("storage of 500 MB/s", {"storage_mb_s": 500.0, "link_mb_s": 500.0}),
        ("5 answers of the reasoner at a time", {"reasons_at_once": 5}),
        ("2 answers of the reasoner at a time", {"reasons_at_once": 2}),
    ):
        studio = dataclasses.replace(base, **changed)
        print(line(name, night, studio, run(night, studio, times)))


def breaking(times: Times) -> list[tuple[str, list[tuple[int, float]]]]:
    """Solves an hour against devices, for what might break first. Shots enough to keep them all busy."""
    curves = []
    for name, changed in (
        ("20 answers of the reasoner at a time, 4 GB/s", {}),
        ("200 answers at a time, 4 GB/s", {"reasons_at_once": 200}),
        ("2000 answers at a time, 1 GB/s", {"reasons_at_once": 2000, "storage_mb_s": 1000.0, "link_mb_s": 1000.0}),
        ("2000 answers at a time, 20 GB/s", {"reasons_at_once": 2000, "storage_mb_s": 20000.0}),
    ):
        points = []
        for devices in (4, 8, 16, 32, 64, 128, 256, 500):
            studio = Studio(hosts=devices // 4, devices=4, **changed)
            night = Night(devices * 25, arrive_h=0.0, again=0.0)
            done = run(night, studio, times)
            points.append((devices, len(done.whole) * 3600.0 / done.end_s))
        curves.append((name, points))
    print(
        "\nWhat breaks first: solves an hour, all shots there at once\n"
        + " " * 48
        + "".join(f"{d:>8}" for d, _ in curves[0][1])
    )
    for name, points in curves:
        print(f"{name:<48}" + "".join(f"{rate:8.0f}" for _, rate in points))
    return curves


def sharing(times: Times) -> list[tuple[int, float, float]]:
    """(devices, minutes for one long shot alone, minutes spread) on one host."""
    rows = []
    for devices in (1, 2, 4, 8):
        rows.append((devices, generate_s(400, times) / 60, generate_s(400, times, devices) / 60))
    print(
        f"\nOne shot of 400 frames ({windows(400)} windows): minutes in diffusion\n"
        + "".join(f"{d:>4} devices: {s:.1f}" for d, _, s in rows)
    )
    return rows


def load(times: Times) -> dict[str, list[tuple[int, float]]]:
    """95th percentile of the minutes in the queue for a device, against shots of a night, 16 devices."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name, changed in (
        ("cold", {"warm": False}),
        ("warm", {}),
        ("warm, overlap, spread", {"overlap": True, "spread": True}),
    ):
        for shots in (100, 200, 400, 600, 800, 1200, 1600, 2000):
            night = Night(shots)
            done = run(night, Studio(hosts=4, devices=4, **changed), times)
            found.setdefault(name, []).append((shots, share(done.waits, 0.95) / 60))
    return found


def pictures(
    folder: Path, curves: list[tuple[str, list[tuple[int, float]]]], waits: dict[str, list[tuple[int, float]]]
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    def draw(name: str, lines: list[tuple[str, list[tuple[int, float]]]], x: str, y: str, log: bool) -> None:
        figure, axes = pyplot.subplots(figsize=(7.2, 4.0), dpi=110)
        for label, points in lines:
            axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", label=label)
        if log:
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.xaxis.set_major_formatter("{x:.0f}")
            axes.yaxis.set_major_formatter("{x:.0f}")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(folder / name)
        pyplot.close(figure)

    folder.mkdir(parents=True, exist_ok=True)
    draw("scale_breaks.png", curves, "devices", "solves an hour", True)
    draw(
        "scale_waits.png",
        list(waits.items()),
        "shots in four hours, 16 devices",
        "minutes in the queue, 95th percentile",
        False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="a folder for the plots (needs matplotlib)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a time of scale_model.Times")
    options = parser.parse_args()
    given: dict[str, Any] = {}
    for text in options.set:
        name, _, value = text.partition("=")
        given[name] = type(getattr(Times(), name))(value)
    times = Times(**given)
    print(f"One window and step: {times.window_step_s:.2f} s; 85 frames: {generate_s(85, times):.0f} s (assumed)")
    sizes(times)
    choices(times)
    sharing(times)
    curves = breaking(times)
    waits = load(times)
    if options.pictures:
        pictures(options.pictures, curves, waits)


if __name__ == "__main__":
    main()
