r"""What a uniform has left to say once it has decided a draw.

The draw x is +1 where ``u < p``.  Given the state, u is uniform on an interval of length P(x) that
ends at 0 (x = +1) or at 1 (x = -1), hence

    t = u / P(x)  where x = +1,     t = (1 - u) / P(x)  where x = -1

is again uniform on [0, 1) and independent of the state: a further choice can be made by t, without
any other source of chance.  Where the state is improbable, neither form cancels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def residual_uniform(uniform: Tensor, is_below: Tensor, probability: Tensor) -> Tensor:
    """The uniform that is left, in [0, 1), a constant.

    Args:
        uniform: what the choice was made of.
        is_below: whether the uniform was below the threshold.
        probability: of what was chosen: the threshold, or 1 less the threshold.
    """
    with torch.no_grad():
        limits = torch.finfo(uniform.dtype)
        length = torch.where(is_below, uniform, 1 - uniform)
        return (length / probability.clamp_min(limits.tiny)).clamp(0, 1 - limits.eps)
