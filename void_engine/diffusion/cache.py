"""Tensors on disk by the hash of what they were computed from: prompts and encodings that another seed needs again.

Promises: a file is whole or not there; one that cannot be read is computed again. Must not decide what is dropped:
the folder's owner does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from void_client.errors import InputError, RetryableError

from void_engine.atomic import write_atomically

log = logging.getLogger(__name__)


class TensorCache:
    """``identity``: whatever changes the tensors besides their key: weights, number format. No folder: no cache."""

    def __init__(self, folder: Path | None, identity: str = "") -> None:
        self._folder = folder
        self._identity = identity

    @property
    def on(self) -> bool:
        return self._folder is not None

    def get(self, kind: str, key: Any) -> dict[str, torch.Tensor] | None:
        """The tensors, on the CPU, or None."""
        path = self._path(kind, key)
        if path is None:
            return None
        try:
            tensors = load_file(path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError) as problem:
            log.warning("the cached %s %s cannot be read and is made again: %s", kind, path.name, problem)
            return None
        with suppress(OSError):  # a folder that may only be read
            os.utime(path)  # so that its owner sees what is in use
        return tensors

    def put(self, kind: str, key: Any, tensors: dict[str, torch.Tensor]) -> None:
        """Never fails: a cache that cannot be written costs time only."""
        path = self._path(kind, key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, [save({name: tensor.contiguous() for name, tensor in tensors.items()})])
        except (InputError, RetryableError, OSError) as problem:
            log.warning("the %s could not be kept: %s", kind, problem)

    def _path(self, kind: str, key: Any) -> Path | None:
        if self._folder is None:
            return None
        text = json.dumps([self._identity, kind, key], sort_keys=True)
        return self._folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:40]}.safetensors"
