r"""Data that are ±1, told to be: their flips of ±1 weights then take the one-matmul identity.

A flip of a weight ``w_ji`` moves ``a_nj`` by ``-2 s_j w_ji x_ni``.  If all ``x_ni`` are ±1 that
step has one size a unit, and path sample-analytic flips of the first layer's ±1 weights are exact
by one matrix product (:mod:`bayes_sbn.affines.flips`); real inputs take two, for two terms of a
series.
"""

from __future__ import annotations

from torch import Tensor

from bayes_sbn.bits import check_signs
from bayes_sbn.signs import tag_sign


def as_signs(x: Tensor) -> Tensor:
    """The same data, checked to be ±1 and tagged so that layers know it.

    The tag belongs to this very tensor: indexing, slicing and ``.to()`` return another one without
    it, which is treated as real inputs.  So call it in the model, on the rows that go into the
    first layer: ``sbn.affine(sbn.as_signs(x[rows]), w)``.  :class:`bayes_sbn.models.BinaryMLP` does
    that itself.

    Args:
        x: floating point data, every entry -1 or +1.

    Raises:
        TypeError: x is not a floating point tensor.
        ValueError: a value that is not ±1; the message says how to map 0 and 1.

    Example:
        >>> import torch
        >>> from bayes_sbn.signs_of_data import as_signs
        >>> as_signs(torch.tensor([1.0, -1.0]))
        tensor([ 1., -1.])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        came = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(
            f"as_signs(x): x is {came}; it must be a floating point tensor of -1 and +1. Write "
            "as_signs(torch.as_tensor(x, dtype=torch.get_default_dtype())), for 0 and 1 as "
            "2 * x - 1."
        )
    check_signs("as_signs(x)", x)
    return tag_sign(x, "data", None)


def tagged_if_signs(x: Tensor, largest: Tensor) -> Tensor:
    """:func:`as_signs` of data that are ±1, and other data as they are.

    Args:
        x: floating point data.
        largest: the largest absolute value, which tells most data apart without another pass.
    """
    if not x.numel() or bool(largest != 1) or bool((x.detach().abs() != 1).any()):
        return x
    return tag_sign(x, "data", None)
