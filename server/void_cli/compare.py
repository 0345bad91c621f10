"""``void compare A B``: two clips side by side, in pictures and in numbers.

Promises: no pixel is touched in this process: a child does it (`void_engine.looking`), which ends with us. Ctrl-C ends
the comparison and leaves no half file. Sheets and movies carry content credentials, or it is told why not.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from void_client.manifest import write_durably

from . import places
from .child import in_a_child, require_pixels
from .output import Output
from .shot import user_signing_key


def add_commands(commands: Any) -> None:
    command = commands.add_parser(
        "compare", help="two clips: a sheet, a wipe and a difference movie, flicker, and the numbers"
    )
    what = 'a result\'s folder, a sequence ("plate.####.exr", "shot.%%04d.png"), or a movie'
    command.add_argument("a", metavar="A", help=what)
    command.add_argument("b", metavar="B", help="the same; what A is compared with")
    command.add_argument("--out", default="compare_out", help="the folder for what it writes (compare_out)")
    command.add_argument("--matte", default="", help="where they may differ: white, or any value over 0")
    command.add_argument("--quadmask", default="", help="the same as a quadmask: all but 255")
    command.add_argument("--frames", default="", help='"1001-1046"; without it what both have')
    command.add_argument("--layer", default="", help="the RGB layer of EXRs; R, G, B without it")
    command.add_argument("--colour-space", default="", help="the EXRs' working space; linear Rec.709 without it")
    command.add_argument("--ocio", default="", help="the OCIO configuration that knows it, as for `void render`")
    command.add_argument("--codec", default="h264", help="of the movies: h264, prores, prores4444 (h264)")
    command.add_argument("--fps", default="", help='of the movies: 24, "24000/1001"; without it the footage\'s, or 24')
    command.add_argument("--gain", type=float, default=8.0, help="how much differences are raised (8)")
    command.add_argument("--signed", action="store_true", help="differences around grey: brighter where B is brighter")
    command.add_argument("--exposure", type=float, default=0.0, help="stops, before the view: -4 shows highlights (0)")
    command.add_argument("--width", type=int, default=1920, help="of the movies, at most, pixels (1920)")
    command.add_argument("--no-movies", dest="movies", action="store_false", help="pictures and numbers only")
    command.set_defaults(run=_compare)


def _compare(options: argparse.Namespace, output: Output) -> int:
    require_pixels("Clips cannot be compared here")
    keys = (
        "a", "b", "out", "matte", "quadmask", "frames", "layer", "colour_space", "ocio", "codec", "fps", "gain",
        "signed", "exposure", "width", "movies",
    )  # fmt: skip
    recorded = {"A": _recorded(options.a), "B": _recorded(options.b)}
    report = in_a_child("compare", {**{key: getattr(options, key) for key in keys}, "recorded": recorded}, output)
    out = Path(options.out)
    given = _credentials(report, out)
    for note in (*report["notes"], *_lacking(given)):
        output.say(f"note: {note}", note=note)
    values = {key: report[key] for key in ("range", "region", "summary", "files")}
    output.say(_told(report, out), out=str(out), **values, credentials=given)
    return 0


def _recorded(clip: str) -> str:
    """The OCIO file that a result's job was given, where it was made here; the child compares its digest."""
    path = Path(os.path.abspath(os.path.expanduser(clip)))
    place = places.recorded(path if path.is_dir() else path.parent).get("ocio", "")
    place = place.get("0", "") if isinstance(place, Mapping) else place
    return place if isinstance(place, str) else ""


def _credentials(report: Mapping[str, Any], out: Path) -> dict[str, str]:
    """Each sheet and movie gets its content credential; its name → what kept it from that, or nothing. The report says
    so, too."""
    from void_server import credentials, signing

    key = user_signing_key(os.environ)
    signing.check(key, make=True)  # as a private server of this user would
    statement = credentials.about_shown([side["result"] for side in (report["a"], report["b"]) if side["result"]])
    notary = signing.Notary(key)
    pictures = sorted(name for name in report["files"].values() if Path(name).suffix in credentials.SUFFIXES)
    given = {name: notary.stamp(out / name, statement) for name in pictures}
    path = out / report["files"]["report"]
    whole = {**json.loads(path.read_text(encoding="utf-8")), "credentials": given}
    write_durably(path, (json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return given


def _lacking(given: Mapping[str, str]) -> list[str]:
    without = {name: why for name, why in given.items() if why}
    if not without:
        return []
    return [f"NO content credentials in {', '.join(without)}: {next(iter(without.values()))}"]


def _told(report: Mapping[str, Any], out: Path) -> str:
    """The result in a few lines."""
    total, where = report["summary"], report["region"]["kind"]
    inside = "over the whole frame" if where == "whole frame" else f"inside the {where}"
    lines = [f"{total['frames']} frames, {report['range']}, {report['a']['format']}; measured {inside}, display values"]
    if total["frames_measured"] == 0:
        lines.append(f"  the {where} is empty on all of them: nothing was measured")
    elif total["display_max"] == 0:
        lines.append("  no difference")
    else:
        lines.append(
            f"  difference   mean {total['display_mean']:.2f} of 255, most {total['display_max']:.1f};"
            f" worst frame {total['worst_frame']}"
        )
        lines.append(f"  PSNR {_number(total['psnr'])} dB, SSIM {_number(total['ssim'], 4)} (means of the frames)")
    if total["flicker_a"] is not None:
        ring = f"; around it A {_number(total['flicker_ring_a'])}, B {_number(total['flicker_ring_b'])}"
        lines.append(
            f"  flicker      A {_number(total['flicker_a'])}, B {_number(total['flicker_b'])}"
            + (ring if total["flicker_ring_a"] is not None else "")
        )
    if total["differing_outside"] is not None:
        same = "every value is the same, bit for bit"
        lines.append(
            f"  outside the {where}: "
            + (same if total["identical_outside"] else f"{total['differing_outside']:,} pixels DIFFER")
        )
    elif total["differing"] is not None:
        lines.append(f"  {total['differing']:,} pixels differ in a bit or more")
    lines.append(f"  look at {out}: {', '.join(report['files'].values())}")
    return "\n".join(lines)


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
