r"""An upper bound of ``E[log sum_c exp(a_c)]`` for independent normal a, tight enough to train by.

For any weights t, the tilted bound of Jensen's inequality is

    E[log sum_c exp a_c] <= log sum_c exp(r_c) + sum_c t_c^2 v_c / 2,
    r_c = m_c + (1 - 2 t_c) v_c / 2,

with means m and variances v; t = 0 is Jensen's own.  It is tightest where ``t = softmax(r)``.  The
same holds with a class of logit 0 and no variance, for ``log(1 + exp a)``, where ``t =
sigmoid(r)``.  The weights are found by iteration and are constants to derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_sbn.affines.dense import Affine
from bayes_sbn.affines.moments import raised, variance

ITERATIONS = 30
"""How often the weights are improved; any weights give a bound."""


@dataclass(frozen=True)
class Tilted:
    """A pre-activation with moments, as a likelihood by exponentials scores it.

    Args:
        affine: the ordinary pre-activation r.
        lift: ``r - m``.
        remainder: ``t^2 v / 2``.
    """

    affine: Affine
    lift: Tensor
    remainder: Tensor


def tilted(pre: Affine, squash: Callable[[Tensor], Tensor]) -> Tilted:
    """The bound of a pre-activation with moments.

    Args:
        pre: whose operands are known by their moments.
        squash: softmax over classes, or the sigmoid of single units.
    """
    mean, v = pre.tensor, variance(pre)
    with torch.no_grad():
        t = squash(mean)
        for _ in range(ITERATIONS):  # half steps: full ones swing where variances are large
            t = 0.5 * (t + squash(mean + (0.5 - t) * v))
    lift = (0.5 - t) * v
    return Tilted(raised(pre, lift), lift, 0.5 * t.square() * v)
