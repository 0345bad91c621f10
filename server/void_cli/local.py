"""Commands that bring their own server: serve, render, demo."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from void_client.errors import EngineUnavailable, InputError
from void_client.settings import data_dir, load_settings

from . import farm_session
from .farm_session import end_with_lease
from .output import Output
from .private import private_server as private_server
from .progress import STYLES
from .render import check_out as check_out
from .serving import follow as follow
from .serving import session as session
from .shot import add_server_arguments, add_shot_arguments

_HOST = ("devices", "models", "memory")


def add_commands(commands: Any) -> None:
    serve = commands.add_parser("serve", help="run a server on this machine")
    serve.add_argument("--data", help="the server's folder, on a local disk")
    serve.add_argument("--bind", help="tcp://address:port (tcp://127.0.0.1:7411); port 0 takes a free one")
    serve.add_argument("--endpoint", help="what clients are told, if not the bound address")
    _add_host_arguments(serve)
    serve.add_argument("--share-root", dest="share_roots", action="append", help="a folder that clients may share")
    serve.add_argument("--config", type=Path, help="a settings file (YAML); all settings: docs/td.md")
    serve.add_argument("--until-stdin-closes", action="store_true", help="end with the program that started it")
    serve.add_argument("--lease", type=Path, help="end once this file is gone, or was not touched for --lease-s")
    serve.add_argument("--lease-s", dest="lease_s", type=float, default=300.0, help="seconds (300)")
    serve.set_defaults(run=_serve)
    render = commands.add_parser("render", help="clean a shot: the frames and their manifest into a folder")
    add_shot_arguments(render)
    add_server_arguments(render)
    render.add_argument("--out", type=Path, help="the folder for the frames")
    add_farm_arguments(render)
    _add_choosing_arguments(render)
    render.set_defaults(run=_render, stop="")
    quadmask = commands.add_parser("quadmask", help="work out a shot's quadmask only, to look at and to edit")
    add_shot_arguments(quadmask)
    add_server_arguments(quadmask)
    quadmask.add_argument("--out", type=Path, help="the folder for the quadmask, the overlay and the analysis")
    add_farm_arguments(quadmask)
    quadmask.set_defaults(run=_render, stop="masks", again=None, seeds=None, check=False, context=None)
    farm_session.add_commands(commands, _add_host_arguments)
    demo = commands.add_parser("demo", help="a synthetic shot through a real server, measured against the truth")
    demo.add_argument("--out", type=Path, default=Path("demo_out"), help="where to put it (demo_out)")
    demo.add_argument("--size", default="640x360", help="WIDTHxHEIGHT (640x360)")
    demo.add_argument("--length", type=int, default=24, help="frames (24)")
    demo.set_defaults(run=_demo)


def add_farm_arguments(command: argparse.ArgumentParser, *, many: bool = False) -> None:
    """Where the work is done, and how a farm hears of it."""
    command.add_argument("--local", action="store_true", help="use a private server, whatever else names one")
    command.add_argument("--remote", action="store_true", help="use the servers of client.yaml")
    command.add_argument(
        "--data",
        type=Path,
        help="the private server's folder, which stays; without it one in the cache, kept until the render succeeds",
    )
    _add_host_arguments(command)
    farm = command.add_argument_group("on a farm", "docs/farm.md")
    farm.add_argument("--store", type=Path, metavar="PROJECT", help="a new version under PROJECT/void/SHOT/NODE")
    farm.add_argument("--node", metavar="UUID", help="the VOID node's uuid, or a name, with --store")
    farm.add_argument("--path-mapping", type=Path, metavar="FILE", help="path mapping rules (JSON), as OpenJD has them")
    if not many:
        farm.add_argument("--progress", choices=STYLES, help="tell the farm manager how far it is, on stdout")
    farm.add_argument("--anew", action="store_true", help="make the result again, though it is finished")


def _render(options: argparse.Namespace, output: Output) -> int:
    from . import render

    return render.run(options, output)


def _add_choosing_arguments(render: argparse.ArgumentParser) -> None:
    more = render.add_argument_group("again, and to choose from", "docs/artist.md, Choosing")
    more.add_argument(
        "--again", type=Path, metavar="OUT", help="repeat the result in this folder exactly, or some of its --frames"
    )
    more.add_argument("--check", action="store_true", help="with --again: compare only, keep no frames")
    more.add_argument(
        "--context", type=int, metavar="N", help="with --again and --frames: finished frames around them to go by (16)"
    )
    more.add_argument("--seeds", metavar="N", help="so many seeds, or these: 1,5,9; then `void choose`")


def _add_host_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", dest="devices", action="append", help="cpu, cuda:0 …; one worker each (cpu)")
    command.add_argument("--models", help="the folder of the engine void's weights: see `void models fetch`")
    command.add_argument("--memory", help="how they are held: auto, full, offload, group, fp8, each with +tiled (auto)")


def need_server() -> None:
    """Raises ``EngineUnavailable`` where server or engine cannot run here. Looks for the packages, loads none."""
    lacking = [
        name
        for name in ("numpy", "cv2", "OpenEXR", "OpenImageIO", "patchmatch")
        if importlib.util.find_spec(name) is None
    ]
    if sys.version_info < (3, 11):
        lacking.insert(0, "Python 3.11")
    if sys.platform != "linux":
        lacking.insert(0, "Linux")
    if lacking:
        raise EngineUnavailable(
            f"The server cannot run here: it lacks {', '.join(lacking)}.",
            hint="It needs Linux, Python 3.11 or later and: pip install 'void-nuke[server,plates]'.",
        )


def _serve(options: argparse.Namespace, output: Output) -> int:
    need_server()
    from void_server import server
    from void_server.logs import log_to_file
    from void_server.router import Router
    from void_server.settings import PREFIX, ServerSettings

    given = {k: getattr(options, k) for k in ("data", "bind", "endpoint", "share_roots", *_HOST)}
    if given["models"]:
        given["models"] = os.path.abspath(given["models"])
    if given["share_roots"]:
        given["share_roots"] = [os.path.abspath(root) for root in given["share_roots"]]
    settings = load_settings(
        ServerSettings, file=options.config, prefix=PREFIX, environment=os.environ, overrides=given
    )
    if not settings.data:
        settings = dataclasses.replace(settings, data=str(data_dir(os.environ)))
    settings.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    logging.getLogger().setLevel(logging.INFO)
    log_to_file(settings.root / "server.log")

    def ready(endpoint: str, public: str, router: Router) -> None:
        server.stop_on_signals(router)
        if options.until_stdin_closes:
            threading.Thread(target=_stop_with_stdin, args=(router.stop,), daemon=True).start()
        if options.lease is not None:
            end_with_lease(options.lease, options.lease_s, router.stop)
        output.say(
            f"VOID server at {endpoint}\npublic key {public}\ndata in {settings.data}",
            endpoint=endpoint,
            public_key=public,
            data=settings.data,
        )

    server.serve(settings, ready)
    return 0


def _stop_with_stdin(stop: Any) -> None:
    while os.read(0, 4096):
        pass
    stop()


def _demo(options: argparse.Namespace, output: Output) -> int:
    need_server()
    from .demo import run as run_demo

    try:
        width, height = (int(part) for part in options.size.split("x"))
    except ValueError:
        raise InputError(f"{options.size!r} is not a size.", hint="Write --size 640x360.") from None
    return run_demo(options.out, width, height, options.length, output)
