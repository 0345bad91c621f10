"""Prompts as the transformer reads them: T5's last hidden states, 226 tokens.

Promises: T5 (9.5 GB) is loaded when a prompt is new and let go again; a known prompt comes from the cache on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from void_engine.diffusion.cache import TensorCache

TOKENS = 226

Encoder = Callable[[], AbstractContextManager[tuple[Any, Any]]]
"""Opens tokenizer and encoder for use; they may be let go after it."""


def embed_prompts(prompts: list[str], opened: Encoder, cache: TensorCache) -> list[torch.Tensor]:
    """(1, 226, D) float32 on the CPU, for each prompt. Padding takes part, as it did when the model learned."""
    found = {prompt: cache.get("prompt", prompt) for prompt in prompts}
    missing = [prompt for prompt, known in found.items() if known is None]
    if missing:
        with opened() as (tokenizer, encoder):
            for prompt in missing:
                found[prompt] = {"embeds": _encode(prompt, tokenizer, encoder)}
                cache.put("prompt", prompt, found[prompt] or {})
    return [(found[prompt] or {})["embeds"] for prompt in prompts]


@torch.no_grad()
def _encode(prompt: str, tokenizer: Any, encoder: Any) -> torch.Tensor:
    tokens = tokenizer(
        prompt,
        padding="max_length",
        max_length=TOKENS,
        truncation=True,
        add_special_tokens=True,
        return_tensors="pt",
    )
    embeds: torch.Tensor = encoder(tokens.input_ids.to(encoder.device))[0]
    return embeds.float().cpu()
