"""What is known of a plate's grain: how strong at which level, how it hangs together in space and between channels.

Promises that it survives JSON and is small. Must not look at pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

KNOTS: Final = np.linspace(-0.1, 1.7, 19)  # encoded levels at which the strength is known
RADIUS: Final = 6  # pixels: grain further apart is taken as independent

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GrainModel:
    """Gaussian grain, in encoded values (`void_engine.cleanplate.shaper`).

    ``sigma`` (3, 19): standard deviation at `KNOTS`; between them linear, beyond them held. ``kernel`` (3, 13, 13):
    what white noise is filtered with, its squares' sum 1. ``mixing`` (3, 3): lower triangle that makes three
    independent noises depend on each other as the channels do. ``ends`` (3, 2): levels at which a channel is clipped
    and shows no grain, infinite where it is not.
    """

    sigma: Floats
    kernel: Floats
    mixing: Floats
    ends: Floats

    @classmethod
    def none(cls) -> GrainModel:
        """No grain at all."""
        kernel = np.zeros((3, 2 * RADIUS + 1, 2 * RADIUS + 1))
        kernel[:, RADIUS, RADIUS] = 1.0
        return cls(np.zeros((3, KNOTS.size)), kernel, np.eye(3), np.tile(np.array([-np.inf, np.inf]), (3, 1)))

    def strength(self, level: npt.NDArray[np.floating[Any]], channel: int) -> Floats:
        """The standard deviation at encoded levels of any shape."""
        curve = np.interp(level, KNOTS, self.sigma[channel])
        low, high = self.ends[channel]
        # Near its end a channel's grain is cut off on one side: it fades over as far as the grain reaches.
        room = np.minimum(level - low, high - level)
        return np.asarray(curve * np.clip(room / np.maximum(2.0 * curve, 1e-9), 0.0, 1.0), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Seven digits: more than can be measured, and the same after another way through JSON."""
        return {
            "sigma": _rounded(self.sigma),
            "kernel": _rounded(self.kernel),
            "mixing": _rounded(self.mixing),
            "ends": [[float(end) if np.isfinite(end) else None for end in pair] for pair in self.ends],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GrainModel:
        ends = [[-np.inf if low is None else low, np.inf if high is None else high] for low, high in value["ends"]]
        sigma, kernel, mixing = (np.array(value[key], dtype=np.float64) for key in ("sigma", "kernel", "mixing"))
        return cls(sigma, kernel, mixing, np.array(ends, dtype=np.float64))


def _rounded(array: Floats) -> Any:
    return np.round(array, 7).tolist()
