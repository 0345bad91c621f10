"""The attention of a transformer block on a kernel of one's choice; the stock processor knows only torch's own.

Promises: the stock processor's numbers, where the kernel is torch's. Nothing is downloaded: kernels that `diffusers`
would fetch from a hub and run are refused. Must not change `diffusers`' global choice, which other models follow.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from typing import Any, Final, cast

import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _check_attention_backend_requirements,
    dispatch_attention_fn,
)
from void_client.errors import JobError

from void_engine.diffusion.loading import Transformer

Rotary = tuple[torch.Tensor, torch.Tensor]

NATIVE: Final = "native"  # F.scaled_dot_product_attention
_FETCHED: Final = "hub"  # is in the name of every kernel that comes from a hub


class DispatchedAttention:
    """A processor for ``CogVideoXBlock.attn1``; one for all blocks.

    ``_attention_backend`` and ``_parallel_config`` are what `diffusers`' ``set_attention_backend`` and
    ``enable_parallelism`` look for; processors without them are passed over in silence.
    """

    def __init__(self, backend: str = NATIVE) -> None:
        self._attention_backend: AttentionBackendName | None = AttentionBackendName(backend)
        self._parallel_config: Any = None

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Video (B, V, D) and text (B, T, D) → both attended to together; (B, T + V, heads, D / heads) in between."""
        text = encoder_hidden_states.shape[1]
        tokens = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        query = attn.to_q(tokens).unflatten(-1, (attn.heads, -1))
        key = attn.to_k(tokens).unflatten(-1, (attn.heads, -1))
        value = attn.to_v(tokens).unflatten(-1, (attn.heads, -1))
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        if image_rotary_emb is not None:
            rotary = _with_text(image_rotary_emb, text)
            query, key = _turned(query, rotary), _turned(key, rotary)
        attended = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        output = attn.to_out[1](attn.to_out[0](attended.flatten(2)))
        return output[:, text:], output[:, :text]


def use_backend(transformer: Transformer, backend: str) -> None:
    """Every block attends with ``backend``, a name of `known_backends`."""
    transformer.set_attn_processor(DispatchedAttention(backend))


def known_backends() -> tuple[str, ...]:
    """Kernels whose packages are installed; whether the device can run them is seen by `check_on_device`."""
    return tuple(name.value for name in AttentionBackendName if _installed(name))


def check_backend(backend: str) -> None:
    """Raises ``JobError`` where there is no such kernel, or its package is not installed."""
    if backend in known_backends():
        return
    if backend in {name.value for name in AttentionBackendName}:
        why = "would be fetched from a hub, code and all" if _FETCHED in backend else "is not installed"
    else:
        why = "is not known"
    raise JobError(
        f"The attention kernel {backend!r} {why}.",
        hint=f"Available here: {', '.join(known_backends())}.",
        details={"key": "attention", "available": list(known_backends())},
    )


def check_on_device(backend: str, device: torch.device, dtype: torch.dtype, head_size: int) -> None:
    """Try the kernel once, small. Raises ``JobError`` where this device or these numbers are not for it."""
    trouble = _trouble(backend, str(device), dtype, head_size)
    if trouble is not None:
        fit = [name for name in known_backends() if _trouble(name, str(device), dtype, head_size) is None]
        raise JobError(
            f"The attention kernel {backend!r} does not run on {device} with {dtype}: {trouble}",
            hint=f"These run here: {', '.join(fit)}.",
            details={"key": "attention", "available": fit},
        )


@functools.lru_cache(maxsize=128)
def _trouble(backend: str, device: str, dtype: torch.dtype, head_size: int) -> str | None:
    """Why a small call fails; None where it gives what torch's own kernel gives, as far as 8 bits can tell."""
    random = torch.Generator().manual_seed(0)
    query, key, value = torch.randn((3, 1, 128, 2, head_size), generator=random).unbind()
    expected = dispatch_attention_fn(query, key, value, backend=AttentionBackendName.NATIVE)
    query, key, value = query.to(device, dtype), key.to(device, dtype), value.to(device, dtype)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kernels that are slow unless compiled say so
            found = dispatch_attention_fn(query, key, value, backend=AttentionBackendName(backend))
    except torch.OutOfMemoryError:
        raise  # says nothing of the kernel, and must not be remembered
    # The kernels are other people's packages: what they raise for a device they do not know is theirs to choose.
    except Exception as problem:  # noqa: BLE001
        return str(problem).strip().split("\n")[0] or type(problem).__name__
    if not torch.allclose(found.float().cpu(), expected, atol=0.05):
        return "it gives wrong numbers."
    return None


def _with_text(rotary: Rotary, text: int) -> Rotary:
    """Text tokens are turned by nothing: cosine 1, sine 0. So all tokens are turned at once, and nothing is written
    into a slice, which would split a compiled block or copy the tokens once more.
    """
    cosine, sine = rotary
    none = cosine.new_zeros((text, cosine.shape[1]))
    return torch.cat([none + 1, cosine]), torch.cat([none, sine])


def _turned(tokens: torch.Tensor, rotary: Rotary) -> torch.Tensor:
    """(B, S, heads, D) by ``rotary`` (S, D): neighbours in D are the real and the imaginary part. In float32."""
    cosine, sine = rotary[0][:, None], rotary[1][:, None]
    real, imaginary = tokens.reshape(*tokens.shape[:-1], -1, 2).unbind(-1)
    across = torch.stack([-imaginary, real], dim=-1).flatten(-2)
    return (tokens.float() * cosine + across.float() * sine).to(tokens.dtype)


def _installed(name: AttentionBackendName) -> bool:
    if _FETCHED in name.value:
        return False
    with contextlib.suppress(RuntimeError):
        cast(Any, _check_attention_backend_requirements)(name)
        return True
    return False
