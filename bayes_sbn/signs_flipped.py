r"""Exact flips of any function of a ±1 draw, in chunks of bounded memory.

For a function f of the n bits of a draw x, evaluated row by row, the gradient in x is

    d_i = 1/2 [f(x | x_i = +1) - f(x | x_i = -1)] = 1/2 x_i [f(x) - f(x with x_i negated)]

where the estimator of the draw asks for flips, and the derivative where it does not.  All rows flip
their bit i in the same evaluation; f sees k flips at a time as a leading dim, (k, *batch, *event).
What f closes over (parameters, weights, targets) is differentiated by autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from bayes_sbn.bits import check_signs
from bayes_sbn.signs import no_state, open_sign, sign_tag, tag_sign
from bayes_sbn.signs_average_pooled import pooled_tag

Head = Callable[[Tensor], Tensor]
"""A function of states, (*lead, *batch, *event) to (*lead, *batch)."""

ENTRIES_PER_CHUNK = 1 << 22
"""How many entries of flipped states a function is given at a time: 32 MB in float64."""


def exact_flips(
    function: Head,
    h: Tensor,
    *,
    event_dim: int = 1,
    chunk_entries: int = ENTRIES_PER_CHUNK,
) -> Tensor:
    """``function(h)`` per row, differentiated in the bits of h by exact flips.

    The function need not be differentiable in h, and may be anything that treats rows and leading
    dims alike: a network, a table, an indicator.  A row's value must not depend on other rows.  Its
    parameters are those it closes over; they get ordinary gradients.  A draw whose estimator
    takes derivatives (``"st"``) is differentiated by autograd, and one that carries no gradient is
    only evaluated.  It costs ``h.shape[-event_dim:].numel()`` evaluations, one per bit, next to the
    first.

    Args:
        function: from states, (*lead, *batch, *event), to one number each, (*lead, *batch).
            It is called under ``torch.no_grad`` for the flips; read parameters outside of it.
        h: the draw of a ±1 site, (*batch, *event), or any tensor of -1 and +1.
        event_dim: how many dims are units; 3 for those of :func:`bayes_sbn.affine_conv2d`.
        chunk_entries: how many entries of flipped states are evaluated at a time; one flip of
            all rows is the least.

    Returns:
        ``function(h)``, (*batch): a log-likelihood for ``pyro.factor``, for example.

    Raises:
        ValueError: values that are not ±1, a result of another shape, or a flip whose value is not
            finite.

    Example:
        >>> import torch
        >>> from bayes_sbn.signs_flipped import exact_flips
        >>> exact_flips(lambda h: (h.sum(-1) > 0).double(), torch.tensor([[1.0, 1.0, -1.0]]))
        tensor([1.], dtype=torch.float64)
    """
    call = "exact_flips(function, h)"
    head_state = state(h, event_dim, call)
    return add_flips(function(head_state), function, h, event_dim, chunk_entries, call)


def by_flips(h: Tensor) -> bool:
    """Whether a gradient in h is asked for, by flips."""
    tag = sign_tag(h)
    return (
        tag is not None
        and tag.flip is not None
        and open_sign(h).requires_grad
        and torch.is_grad_enabled()
    )


def fits(shape: torch.Size, h: Tensor, event_dim: int) -> bool:
    """Whether results of that shape are one for each row of h.

    A draw that is flipped has every row.  Other states may have rows of size 1, as enumerated ones
    have in the dims of other sites, and the results need not.
    """
    rows, tag = h.shape[: h.dim() - event_dim], sign_tag(h)
    if shape == rows:
        return True
    if tag is not None and tag.flip is not None:
        return False
    return len(shape) == len(rows) and all(
        row in (1, size) for row, size in zip(rows, shape, strict=True)
    )


def state(h: Tensor, event_dim: int, call: str) -> Tensor:
    """What a function is evaluated at: h, or its values where its gradient is by flips."""
    if not isinstance(h, Tensor):
        raise TypeError(
            f"{call}: h is a {type(h).__name__}; it must be the draw of a ±1 site, a torch.Tensor."
        )
    if not isinstance(event_dim, int) or isinstance(event_dim, bool) or event_dim < 1:
        raise ValueError(
            f"{call}: event_dim={event_dim!r}; it is the number of dims of units at the end of h, "
            "at least 1: 1 for dense layers, 3 for (C, H, W)."
        )
    if event_dim > h.dim():
        raise ValueError(
            f"{call}: event_dim={event_dim}, but h has shape {tuple(h.shape)}; the dims of the "
            "rows come before those of the units."
        )
    what = no_state(h)
    if what is not None:
        raise ValueError(
            f"{call}: h is {what}, and what is flipped are ±1 states. Give that site "
            'infer={"estimator": "psa"}, or write the likelihood with sbn.affine().'
        )
    pooled = pooled_tag(h)
    if pooled is not None:
        raise ValueError(
            f'{call}: h are averages of the draw of site "{pooled.site}", and what is flipped are '
            "±1 states. Average inside the function, which is given the draw itself and its flips, "
            'or give that site infer={"estimator": "st"} and write the function of the averages.'
        )
    tag = sign_tag(h)
    if tag is None:
        check_signs(call, h)
        return h
    return tag_sign(h.detach(), tag.site, None) if by_flips(h) else h


def add_flips(
    value: Tensor,
    function: Head,
    h: Tensor,
    event_dim: int,
    chunk_entries: int,
    call: str,
) -> Tensor:
    """The value of a function at :func:`state` of h, with the gradient of its flips.

    Where the estimator of the draw asks for a Rao-Blackwellised head, the value is averaged over
    redraws of one bit (:mod:`bayes_sbn.affines.redraw`).
    """
    batch = h.shape[: h.dim() - event_dim]
    _check_kind(value, call)
    if not fits(value.shape, h, event_dim):
        raise _wrong_shape(value.shape, batch, h, event_dim, call, "h")
    tag = sign_tag(h)
    rule = None if tag is None else tag.flip
    is_flipped, is_redrawn = by_flips(h), rule is not None and rule.rao_blackwell
    if not (is_flipped or is_redrawn):
        return value
    if not isinstance(chunk_entries, int) or chunk_entries < 1:
        raise ValueError(
            f"{call}: chunk_entries={chunk_entries!r}; it is how many entries of flipped states "
            "are evaluated at a time, an integer of at least 1. Leave it out for "
            f"{ENTRIES_PER_CHUNK}."
        )
    x = h.detach()
    with torch.set_grad_enabled(is_redrawn and torch.is_grad_enabled()):
        changes = value.unsqueeze(-1) - _flipped_values(function, x, event_dim, chunk_entries, call)
    _check_finite(changes, call)
    result = value
    if is_redrawn:
        assert tag is not None
        assert rule is not None
        other = rule.probability_of_other(x, tag.site).reshape(changes.shape)
        bits = max(1, changes.shape[-1])
        result = result - (other.to(changes.dtype) * changes).sum(-1) / bits
    if is_flipped:
        gradient = 0.5 * x.reshape(changes.shape) * changes.detach().to(x.dtype)
        flips: Tensor = _Gradient.apply(  # type: ignore[no-untyped-call]
            open_sign(h), gradient, value.dtype
        )
        result = result + flips
    return result


class _Gradient(torch.autograd.Function):
    """Zero per row, with a given gradient in the states."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(gradient)
        ctx.event_dim = x.dim() - gradient.dim() + 1
        batch = gradient.shape[:-1]
        ctx.shape = x.shape
        return torch.zeros((), dtype=dtype, device=x.device).expand(batch)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return (g.unsqueeze(-1) * gradient).to(gradient.dtype).reshape(ctx.shape), None, None


def _flipped_values(
    function: Head, x: Tensor, event_dim: int, chunk_entries: int, call: str
) -> Tensor:
    """``f(x with x_i negated)``, (*batch, bits); gradients evaluate each chunk once more."""
    batch, event = x.shape[: x.dim() - event_dim], x.shape[x.dim() - event_dim :]
    bits = event.numel()
    if not x.numel():
        return x.new_zeros(*batch, bits)
    size = max(1, chunk_entries // x.numel())

    def evaluate(start: int) -> Tensor:
        flipped = flipped_states(x, event_dim, start, min(size, bits - start))
        values = function(flipped)
        _check_kind(values, call)
        wanted = flipped.shape[:1] + batch
        if values.shape != wanted:
            raise _wrong_shape(values.shape, wanted, flipped, event_dim, call, "its flips")
        return values

    parts: list[Tensor] = []
    for start in range(0, bits, size):
        keeps_graph = torch.is_grad_enabled()
        part = checkpoint(evaluate, start, use_reentrant=False) if keeps_graph else evaluate(start)
        parts.append(part)
    return torch.cat(parts).movedim(0, -1)


def _check_finite(changes: Tensor, call: str) -> None:
    finite = torch.isfinite(changes.detach())
    if not bool(finite.all()):
        place = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"{call}: the function is infinite or NaN in row {tuple(place[:-1])} at h, or where "
            f"its bit {place[-1]} is flipped, so that h has no gradient there. Bound the function, "
            'or give the site infer={"estimator": "score"}.'
        )


def flipped_states(x: Tensor, event_dim: int, start: int, number: int) -> Tensor:
    """States with one bit negated, bits ``start`` to ``start + number - 1``, as a leading dim."""
    batch, event = x.shape[: x.dim() - event_dim], x.shape[x.dim() - event_dim :]
    place = torch.arange(number, device=x.device)
    factor = torch.ones(number, event.numel(), dtype=x.dtype, device=x.device)
    factor[place, start + place] = -1.0
    flipped = x * factor.reshape(number, *(1,) * len(batch), *event)
    return tag_sign(flipped, "flipped states", None)


def _check_kind(value: Tensor, call: str) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        came = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(
            f"{call}: the function returned {came}; it must return a floating point tensor, one "
            "number per row. Write value.to(h.dtype)."
        )


def _wrong_shape(
    came: torch.Size, wanted: torch.Size, at: Tensor, event_dim: int, call: str, what: str
) -> ValueError:
    return ValueError(
        f"{call}: the function returned shape {tuple(came)} for {what} of shape "
        f"{tuple(at.shape)}; it must return one number per row, {tuple(wanted)}, whatever "
        f"dims stand to the left: here event_dim={event_dim}. Sum over outputs with .sum(-1), "
        "and count dims from the right."
    )
