r"""Normalisation by constant statistics, folded into the scale and the bias of a pre-activation.

    gain (a - mean) / sqrt(variance + eps) + shift  =  k a + (shift - k mean),
    k = gain / sqrt(variance + eps),

for each unit, or each channel of a map.  An affine pre-activation stays affine, so that flips of
what follows are those of another scale, and exact.  The statistics must not depend on the bits: a
flip of one bit would change statistics of a batch, and with them every unit of every row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.affines.pre_activation import PreActivationT

_NORMS = {1: torch.nn.BatchNorm1d, 2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm2d}


def fold_normalisation(
    pre: PreActivationT,
    norm: torch.nn.Module | None = None,
    *,
    mean: Tensor | float | None = None,
    variance: Tensor | float | None = None,
    gain: Tensor | float | None = None,
    shift: Tensor | float | None = None,
    eps: float = 1e-5,
) -> PreActivationT:
    """The normalised pre-activation, whose operands can be flipped as before.

    Either ``norm`` with its running statistics, gain and shift, or the numbers themselves: one for
    all units, or one for each unit of a dense layer or channel of a map.  Gain and shift may be
    parameters; they train through the autograd graph.

    Args:
        pre: the pre-activation, or a sum of several.
        norm: a :class:`torch.nn.BatchNorm1d` or, for 2-D maps, :class:`torch.nn.BatchNorm2d` in
            eval mode.
        mean: the mean of each unit, a constant.
        variance: the variance of each unit, a constant.
        gain: what the normalised value is multiplied by; 1 if None.
        shift: what is added at the end; 0 if None.
        eps: what is added to the variance; a ``norm`` has its own.

    Raises:
        ValueError: a norm that takes its statistics from the batch, or wrong sizes.
        TypeError: another kind of norm.

    Example:
        >>> import torch
        >>> from bayes_sbn.affines import affine, fold_normalisation
        >>> a = affine(torch.ones(3), torch.ones(2, 3))
        >>> fold_normalisation(a, mean=1.0, variance=torch.tensor([4.0, 1.0]), eps=0.0).tensor
        tensor([1., 2.])
    """
    call = "fold_normalisation(pre, norm)"
    if norm is not None:
        if not (mean is None and variance is None and gain is None and shift is None):
            raise ValueError(
                f"{call}: a norm has statistics, gain and shift of its own. Give it alone, or "
                "mean=..., variance=..., gain=..., shift=... without it."
            )
        mean, variance, gain, shift, eps = _of_norm(call, norm, pre.event_dim)
    elif mean is None or variance is None:
        raise ValueError(
            f"{call}: there is no norm, and mean or variance is missing. Give a "
            "torch.nn.BatchNorm in eval mode, or mean=... and variance=..."
        )
    channels = pre.unit_shape[0]
    given = {"mean": mean, "variance": variance, "gain": gain, "shift": shift}
    tensors = {}
    for name, value in given.items():
        if value is None:
            value = 0.0 if name == "shift" else 1.0
        tensors[name] = t = torch.as_tensor(value, dtype=pre.tensor.dtype, device=pre.tensor.device)
        if t.dim() > 1 or (t.dim() == 1 and t.shape[0] not in (1, channels)):
            raise ValueError(
                f"{call}: {name} has shape {tuple(t.shape)}; it must be a number or one per unit "
                f"or channel, ({channels},)."
            )
        if name in ("mean", "variance") and t.requires_grad:
            raise ValueError(
                f"{call}: {name} is in the autograd graph; statistics are constants, because those "
                f"that move with the bits couple the rows of a batch. Write {name}.detach() for "
                "frozen ones; functions of parameters alone go into gain and shift."
            )
    if not bool((tensors["variance"] >= 0).all()):
        raise ValueError(f"{call}: a variance is negative; give variances, not their logarithms.")
    factor = tensors["gain"] * (tensors["variance"] + eps).rsqrt()
    return pre.scaled(factor, tensors["shift"] - factor * tensors["mean"])


Statistics = tuple[Tensor, Tensor, Tensor | None, Tensor | None, float]


def _of_norm(call: str, norm: torch.nn.Module, event_dim: int) -> Statistics:
    """Mean, variance, gain, shift and eps of a norm that does not look at the batch."""
    kind = _NORMS[event_dim]
    if not isinstance(norm, kind):
        raise TypeError(
            f"{call}: norm is a {type(norm).__name__}, and the pre-activation has {event_dim} unit "
            f"dims; it must be a torch.nn.{kind.__name__} in eval mode. Norms that take statistics "
            "of each row couple its units; give mean=... and variance=... for constant ones."
        )
    if norm.training:
        raise ValueError(
            f"{call}: the norm is in training mode, where its statistics are those of the batch: a "
            "flip of one bit would change them, and with them every row. Type norm.eval() once it "
            "has running statistics, or give mean=... and variance=... as constants."
        )
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(
            f"{call}: the norm has no running statistics, so it takes those of the batch in eval "
            "mode too. Make it with track_running_stats=True, or give mean=... and variance=..."
        )
    return norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps
