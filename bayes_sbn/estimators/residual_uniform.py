r"""What a uniform has left to say once it has decided a draw.

The draw is +1 where ``u < p``.  Given the draw, u is uniform below p or above it, hence

    v = u / p  at +1,      v = (u - p) / (1 - p)  at -1

is uniform on [0, 1) and independent of the draw: a further choice can be made by v, without any
other source of chance.
"""

from __future__ import annotations

import torch
from torch import Tensor


def residual_uniform(uniform: Tensor, probability: Tensor, outcome: Tensor) -> Tensor:
    """The uniform that is left, in [0, 1).

    Args:
        uniform: what the choice was made of.
        probability: of the outcome ``uniform < probability``.
        outcome: whether it came true.
    """
    width = torch.where(outcome, probability, 1 - probability)
    tiny = torch.finfo(uniform.dtype).tiny
    left = (uniform - torch.where(outcome, 0.0, probability)) / width.clamp_min(tiny)
    return left.clamp(0, 1 - torch.finfo(uniform.dtype).eps)
