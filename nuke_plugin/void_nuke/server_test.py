"""The button "test": what the node's server says of itself, in the artist's and the TD's words. Pure: no nuke."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

from void_client import pairing
from void_client.client import Client
from void_client.errors import NotAuthorised, ServerUnreachable, SettingsError, VoidError
from void_client.settings import ClientSettings

from .messages import explain

_WAIT_S = 8.0


def ask(settings: ClientSettings) -> str:
    """A few lines. Never raises ``VoidError``: what went wrong is the answer. Blocks for some seconds at most."""
    began = time.monotonic()
    try:
        pairing.own_public_key(settings, os.environ)  # made now where this user has none
        with Client(replace(settings, timeout_s=min(_WAIT_S, settings.timeout_s))) as client:
            welcome = client.hello()
            took = time.monotonic() - began
            return _told(settings, welcome.server, welcome.protocol, took, client.health())
    except VoidError as error:
        return f"{settings.endpoint}: {explain(error)}\n{_for_the_td(settings, error)}".strip()


def _told(settings: ClientSettings, server: str, protocol: int, took: float, health: dict[str, Any]) -> str:
    workers = health.get("workers") or []
    engines = sorted({f"{name} {version}" for each in workers for name, version in (each.get("engines") or {}).items()})
    devices = ", ".join(f"{each.get('device', '?')} ({each.get('state', '?')})" for each in workers) or "none"
    lines = [
        f"{settings.endpoint} answers in {took * 1000:.0f} ms: {server}, protocol {protocol}. Your key is allowed.",
        f"Engines: {', '.join(engines) or 'not known yet: the workers are starting'}.",
        f"Workers: {devices}. Jobs: {health.get('running', 0)} running, {health.get('queued', 0)} waiting.",
    ]
    reasoners = {name: why for each in workers for name, why in (each.get("reasoners") or {}).items()}
    unable = [f"{name} ({why})" for name, why in sorted(reasoners.items()) if why]
    if unable:
        lines.append(f"Reasoners that cannot work there: {'; '.join(unable)}.")
    return "\n".join(lines)


def _for_the_td(settings: ClientSettings, error: VoidError) -> str:
    """What to send on: the public key is no secret."""
    if isinstance(error, SettingsError):
        return "For your TD: see the settings of the plugin in docs/td.md."
    if isinstance(error, NotAuthorised):
        return pairing.refused(error, settings, os.environ)
    if isinstance(error, ServerUnreachable):
        return "For your TD: is `void serve` running there, and is its port open to this machine?"
    return ""
