"""Which engines cannot run on this machine, and why: told by a server before anybody sends it frames.

Promises: cheap: looks for packages and files, loads neither. Must not: replace an engine's own check.
"""

from __future__ import annotations

from importlib.util import find_spec

from void_client.errors import EngineUnavailable

from void_engine.interface import Host

_PACKAGES = ("torch", "diffusers", "transformers")


def unable(host: Host) -> dict[str, str]:
    """Engine → what keeps it from working, for those that cannot."""
    lacking = [name for name in _PACKAGES if find_spec(name) is None]
    if lacking:
        return {"void": f"It lacks {', '.join(lacking)}."}
    from void_engine.models.folder import find_models

    try:
        find_models(host.models)
    except EngineUnavailable as problem:
        return {"void": problem.message}
    return {}
