"""Makes server/void_cli/nuke_wheels.json anew, after constraints.txt has changed. Needs a package index.

.venvs/dev/bin/python tests/nuke/pin_wheels.py            # writes the list
.venvs/dev/bin/python tests/nuke/pin_wheels.py --check    # says whether it is what the index gives
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from void_cli.nuke_targets import PYTHONS, Target, targets
from void_client.path_map import PLATFORMS

ROOT = Path(__file__).parents[2]
LIST = ROOT / "server" / "void_cli" / "nuke_wheels.json"
OLD = ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_12_x86_64", "manylinux_2_5_x86_64"]
MAC = ["macosx_11_0", "macosx_10_15", "macosx_10_9"]
TAGS = {
    "linux": [f"manylinux_2_{minor}_x86_64" for minor in range(28, 17, -1)] + OLD,
    "windows": ["win_amd64"],
    "x86_64": [f"{tag}_{machine}" for tag in MAC for machine in ("x86_64", "universal2")],
    "arm64": ["macosx_11_0_arm64"] + [f"{tag}_universal2" for tag in MAC[:2]],
}


def tags(target: Target) -> list[str]:
    if target.glibc:
        return OLD
    return TAGS[target.machine if target.platform == "macos" else target.platform]


def requirements(target: Target) -> list[str]:
    """The versions of constraints.txt; for old hosts the newest pyzmq up to that one which still has a build."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    minor = int(target.python.split(".")[1])
    wanted = []
    for line in lines:
        found = re.match(r"(pyzmq|msgpack|ruamel\.yaml)==([\w.]+)(?:; python_version (<|>=) '3\.(\d+)')?", line)
        if found:
            name, version, sign, bound = found.groups()
            if sign is None or (minor < int(bound)) == (sign == "<"):
                wanted.append(f"{name}{'<=' if target.glibc and name == 'pyzmq' else '=='}{version}")
    return wanted


def fetch(target: Target, folder: Path) -> list[Path]:
    tag = f"cp{target.python.replace('.', '')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", target.python, "--abi", tag, "--dest", str(folder)]
    command += [word for platform in tags(target) for word in ("--platform", platform)]
    subprocess.run([*command, *requirements(target)], check=True, stderr=subprocess.DEVNULL)
    return sorted(folder.glob("*.whl"))


def main() -> int:
    named: dict[str, list[str]] = {}
    digests: dict[str, str] = {}
    wanted = [*targets(PYTHONS, PLATFORMS), *targets(PYTHONS, ["linux"], "2.17")]
    for target in wanted:
        with tempfile.TemporaryDirectory() as folder:
            wheels = fetch(target, Path(folder))
            named[target.pinned] = [wheel.name for wheel in wheels]
            digests.update({wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels})
    made = {"targets": dict(sorted(named.items())), "sha256": dict(sorted(digests.items()))}
    if "--check" in sys.argv:
        return 0 if made == json.loads(LIST.read_text(encoding="utf-8")) else 1
    LIST.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
