"""The Nuke plugin's settings: defaults < studio file < user file < environment.

The studio file is ``$VOID_STUDIO_CONFIG``, or ``studio.yaml`` beside the installed plugin. The user file is
``nuke.yaml`` in the user's folder (``void_client.settings.config_dir``). Environment: ``VOID_NUKE_`` + the key in
capitals.
Promises: an unknown key or a wrong value names its file; nothing is written; no socket.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import schema
from .errors import SettingsError
from .path_map import PathRule, map_path
from .settings import ClientSettings, config_dir, default_key_file, from_environment, load_client_settings, read_file

PREFIX = "VOID_NUKE_"
STUDIO_VARIABLE = "VOID_STUDIO_CONFIG"
STUDIO_FILE = "studio.yaml"
USER_FILE = "nuke.yaml"

_CHOICES = {
    "export_pixels": ("half", "float"),
    "engine": ("cleanplate", "void"),
    "segmenter": ("track", "sam2"),
    "reasoner": ("motion", "gemini", "openai", "manual", "none"),
    "quality": ("final", "draft"),
    "farm_missing_result": ("fail", "plate"),
    "farm_submit": ("ask", "always", "never"),
}


@dataclass(frozen=True)
class StudioServer:
    """One of several servers. ``name`` is what an artist may write instead of the endpoint."""

    name: str
    endpoint: str
    server_key: str
    key_file: Optional[str] = None
    shared_key: bool = False


@dataclass(frozen=True)
class PluginSettings:
    """What the plugin does where the node does not say.

    endpoint, server_key, key_file, shared_key, timeout_s: as in ``ClientSettings``; without an endpoint the user's
    client.yaml counts. servers: more of them. results: the folder that holds ``SHOT/UUID/…`` in place of
    ``<project>/void``. export_pixels: the type that plates are exported in. engine, segmenter, reasoner, quality,
    review: what a new node is set to. farm_…: what a new node and a submission are set to; farm_bundles: where
    bundles are written; farm_retries: how often a task is tried again; farm_void: the command `void` on the workers;
    farm_remote: they ask the studio's server instead of bringing one; farm_submit: whether a bundle goes to Deadline
    Cloud at once (ask, always, never). path_map: folders by their names on each platform.
    """

    endpoint: Optional[str] = None
    server_key: Optional[str] = None
    key_file: Optional[str] = None
    shared_key: bool = False
    timeout_s: float = 30.0
    servers: tuple[StudioServer, ...] = ()
    results: Optional[str] = None
    export_pixels: str = "half"
    engine: str = "cleanplate"
    segmenter: str = "track"
    reasoner: str = "motion"
    quality: str = "final"
    review: bool = True
    farm_chunk_size: int = 10
    farm_missing_result: str = "fail"
    farm_priority: int = 50
    farm_bundles: Optional[str] = None
    farm_retries: int = 2
    farm_void: str = "void"
    farm_remote: bool = False
    farm_submit: str = "ask"
    path_map: tuple[PathRule, ...] = ()

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                raise ValueError(f"{key} is {getattr(self, key)!r}; it can be {' or '.join(choices)}")
        for endpoint in [server.endpoint for server in self.servers] + [self.endpoint or "tcp://"]:
            if not endpoint.startswith("tcp://"):
                raise ValueError(f"the endpoint {endpoint!r} does not begin with tcp://")
        if self.timeout_s <= 0:
            raise ValueError("timeout_s must be above 0")
        if self.farm_chunk_size < 1:
            raise ValueError("farm_chunk_size must be 1 or more")
        if not 0 <= self.farm_priority <= 100:
            raise ValueError("farm_priority must be 0 to 100")

    def all_servers(self) -> tuple[StudioServer, ...]:
        """Every server that the settings name, the first choice first."""
        if self.endpoint is None:
            return self.servers
        first = StudioServer("default", self.endpoint, self.server_key or "", self.key_file, self.shared_key)
        return (first, *self.servers)

    def local_path(self, path: str) -> str:
        """A path that another machine wrote, as this one spells it."""
        return map_path(path, self.path_map)


def load_plugin_settings(environment: Mapping[str, str], plugin: Optional[Path] = None) -> PluginSettings:
    """``plugin``: the folder that Nuke sees; the one that this code lies in without. Raises ``SettingsError``."""
    values: dict[str, Any] = {}
    for file in settings_files(environment, plugin):
        values.update(_checked(file))
    variables = from_environment(PluginSettings, PREFIX, environment)
    schema.load(PluginSettings, variables, where=f"environment, {PREFIX}*", error=SettingsError)
    values.update(variables)
    settings = schema.load(PluginSettings, values, where="settings of the plugin", error=SettingsError)
    expanded: dict[str, Any] = {
        key: _expanded(getattr(settings, key), environment) for key in ("key_file", "results", "farm_bundles")
    }
    return dataclasses.replace(settings, **expanded)


def settings_files(environment: Mapping[str, str], plugin: Optional[Path] = None) -> list[Path]:
    """The files that are read, the weakest first. Raises ``SettingsError`` where the named studio file is missing."""
    user = config_dir(environment) / USER_FILE
    return [file for file in (studio_file(environment, plugin), user if user.is_file() else None) if file is not None]


def studio_file(environment: Mapping[str, str], plugin: Optional[Path] = None) -> Optional[Path]:
    """The studio's file, where there is one. Raises ``SettingsError`` where the environment names one that is not."""
    named = environment.get(STUDIO_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SettingsError(
                f"{STUDIO_VARIABLE} names {named}, which is not there.", hint="Correct the variable, or remove it."
            )
        return Path(named)
    folder = Path(__file__).resolve().parents[1] if plugin is None else plugin
    places = [folder] if (folder / "init.py").is_file() else []
    if (folder.parent / "current").is_file():  # an installation: the file is kept when versions change
        places.append(folder.parent)
    return next((place / STUDIO_FILE for place in places if (place / STUDIO_FILE).is_file()), None)


def client_settings(settings: PluginSettings, environment: Mapping[str, str], server: str = "") -> ClientSettings:
    """How to reach ``server``: an endpoint, a name of ``servers``, or nothing for the first choice.

    Raises ``SettingsError`` where nobody knows the key of that server.
    """
    known = settings.all_servers()
    chosen = next((one for one in known if not server or server in (one.endpoint, one.name)), None)
    if chosen is not None:
        return ClientSettings(
            endpoint=chosen.endpoint,
            server_key=chosen.server_key or None,
            key_file=chosen.key_file or str(default_key_file(environment)),
            timeout_s=settings.timeout_s,
            shared_key=chosen.shared_key,
        )
    own = load_client_settings(environment, {"timeout_s": settings.timeout_s})
    if server and server != own.endpoint:
        names = ", ".join(one.name for one in known) or "none"
        raise SettingsError(
            f"The server {server!r} is not in the plugin's settings (known: {names}).",
            hint="Leave the endpoint empty, or ask your TD to add it to `servers` in studio.yaml with its key.",
            details={"key": "servers"},
        )
    return own


def _checked(file: Path) -> dict[str, Any]:
    """The file's keys, each of them known and well-typed, so that a fault is told with the file's name."""
    values = dict(read_file(file))
    schema.load(PluginSettings, values, where=f"settings {file}", error=SettingsError)
    if values.get("key_file"):
        values["key_file"] = _beside(file, values["key_file"])
    if values.get("servers"):
        values["servers"] = [
            {**server, **({"key_file": _beside(file, server["key_file"])} if server.get("key_file") else {})}
            for server in values["servers"]
        ]
    return values


def _beside(file: Path, text: str) -> str:
    """A relative path counts from the file that names it: an installation has another path on each platform."""
    return text if text.startswith(("~", "$")) else str(Path(os.path.abspath(file)).parent / text)


def _expanded(text: Optional[str], environment: Mapping[str, str]) -> Optional[str]:
    """``~`` and ``$NAME`` or ``${NAME}`` by ``environment``. Raises ``SettingsError`` where a name is not set."""
    if not text or "$" not in text:
        return os.path.expanduser(text) if text else text
    import string

    try:
        return os.path.expanduser(string.Template(text).substitute(environment))
    except (KeyError, ValueError) as problem:
        raise SettingsError(
            f"The setting {text!r} needs a variable that is not set: {problem}.",
            hint="Set it in the environment that starts Nuke, or write the path out.",
        ) from problem
