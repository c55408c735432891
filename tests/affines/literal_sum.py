"""Sums of pre-activations in plain torch, and the flips of all their operands by definition."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bayes_sbn.affines import PreActivation, affine, affine_conv2d, identity
from bayes_sbn.signs import FlipRule, tag_sign
from tests.affines.literal_affine import EXACT
from tests.oracle_flips import literal_differences


def dense(x: Tensor, w: Tensor) -> Tensor:
    """Rows by a matrix, one for all or one a particle, (particles, 1, out, in)."""
    return torch.einsum("...ni,...ji->...nj", x, w if w.dim() == 2 else w.squeeze(-3))


def convolved(x: Tensor, w: Tensor, **window: int | tuple[int, int]) -> Tensor:
    """Maps by a kernel, one for all or one a particle, each particle by itself."""
    if w.dim() == 4:
        flat = functional.conv2d(x.flatten(0, -4), w, **window)
        return flat.reshape(*x.shape[:-3], *flat.shape[1:])
    x = x.expand(len(w), *x.shape[-4:])
    pairs = zip(x, w.squeeze(1), strict=True)
    return torch.stack([functional.conv2d(one, kernel, **window) for one, kernel in pairs])


@dataclass
class Structured:
    """A pre-activation with operands by name, ours and in plain torch.

    Args:
        ours: the pre-activation of tagged operands.
        plain: its value, of plain ones.
        operands: values; those that ``signs`` names are ±1 and to be flipped.
        signs: which operands are ±1 draws.
    """

    ours: Callable[..., PreActivation]
    plain: Callable[..., Tensor]
    operands: dict[str, Tensor]
    signs: tuple[str, ...]

    def tagged(self, rule: FlipRule = EXACT) -> tuple[PreActivation, dict[str, Tensor]]:
        """The pre-activation, and the leaf behind each operand."""
        leaves = {name: t.clone().requires_grad_() for name, t in self.operands.items()}
        given = {
            name: tag_sign(leaf * 1.0, name, rule) if name in self.signs else leaf
            for name, leaf in leaves.items()
        }
        return self.ours(**given), leaves

    def value(self) -> Tensor:
        """The pre-activation in plain torch."""
        return self.plain(**self.operands)

    def literal(self, name: str, objective: Callable[[Tensor], Tensor]) -> Tensor:
        """Half the differences in one operand, entry by entry, of an objective of ``a``."""

        def of(values):
            return objective(self.plain(**{**self.operands, name: torch.tensor(values)})).numpy()

        return 0.5 * torch.tensor(literal_differences(of, self.operands[name].numpy()))

    def derivative(self, name: str, objective: Callable[[Tensor], Tensor]) -> Tensor:
        """The plain derivative in one operand, the others being constants."""
        leaf = self.operands[name].clone().requires_grad_()
        objective(self.plain(**{**self.operands, name: leaf})).sum().backward()
        return leaf.grad


class Draws:
    """Random operands of given shapes; ±1 ones by :meth:`signs`."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def signs(self, *shape: int) -> Tensor:
        return torch.where(self.normal(*shape) < 0, -1.0, 1.0)


def two_dense(w_is_sign: bool = True, particles: tuple[int, ...] = ()) -> Structured:
    """``affine(h2, w) + affine(h1, v)`` with scales and a bias."""
    draw = Draws()
    lead = (*particles, 1) if particles else ()
    weights = draw.signs if w_is_sign else draw.normal
    return Structured(
        ours=lambda h1, h2, w, v, s, t, b: affine(h2, w, b, scale=s) + affine(h1, v, scale=t),
        plain=lambda h1, h2, w, v, s, t, b: s * dense(h2, w) + b + t * dense(h1, v),
        operands={
            "h1": draw.signs(*particles, 4, 3),
            "h2": draw.signs(*particles, 4, 5),
            "w": weights(*lead, 3, 5),
            "v": weights(*lead, 3, 3),
            "s": 0.3 + 0.2 * draw.normal(3),
            "t": 0.4 + 0.2 * draw.normal(3),
            "b": 0.3 * draw.normal(3),
        },
        signs=("h1", "h2", "w", "v") if w_is_sign else ("h1", "h2"),
    )


def dense_skip(w_is_sign: bool = True, particles: tuple[int, ...] = ()) -> Structured:
    """``affine(h2, w) + identity(h1, scale=t)``, the inputs of one row for all particles."""
    draw = Draws(1)
    lead = (*particles, 1) if particles else ()
    weights = draw.signs if w_is_sign else draw.normal
    return Structured(
        ours=lambda h1, h2, w, s, t, b: affine(h2, w, scale=s) + identity(h1, bias=b, scale=t),
        plain=lambda h1, h2, w, s, t, b: s * dense(h2, w) + t * h1 + b,
        operands={
            "h1": draw.signs(4, 3),
            "h2": draw.signs(4, 5),
            "w": weights(*lead, 3, 5),
            "s": 0.3 + 0.2 * draw.normal(3),
            "t": 0.4 + 0.2 * draw.normal(3),
            "b": 0.3 * draw.normal(3),
        },
        signs=("h1", "h2", "w") if w_is_sign else ("h1", "h2"),
    )


def convolution_skip(w_is_sign: bool = True, particles: tuple[int, ...] = ()) -> Structured:
    """A padded convolution, the identity of an earlier draw, and a strided shortcut of a third."""
    draw = Draws(2)
    lead = (*particles, 1) if particles else ()
    weights = draw.signs if w_is_sign else draw.normal

    def maps(t):
        return t[:, None, None]

    return Structured(
        ours=lambda h0, h1, h2, w, v, s, t: (
            affine_conv2d(h2, w, scale=s, padding=1)
            + identity(h1, 3, scale=t)
            + affine_conv2d(h0, v, scale=0.7, stride=2)
        ),
        plain=lambda h0, h1, h2, w, v, s, t: (
            maps(s) * convolved(h2, w, padding=1) + maps(t) * h1 + 0.7 * convolved(h0, v, stride=2)
        ),
        operands={
            "h0": draw.signs(*particles, 2, 1, 5, 6),
            "h1": draw.signs(*particles, 2, 2, 3, 3),
            "h2": draw.signs(*particles, 2, 2, 3, 3),
            "w": weights(*lead, 2, 2, 3, 3),
            "v": weights(*lead, 2, 1, 1, 1),
            "s": 0.2 + 0.1 * draw.normal(2),
            "t": 0.5 + 0.1 * draw.normal(2),
        },
        signs=("h0", "h1", "h2", "w", "v") if w_is_sign else ("h0", "h1", "h2"),
    )


def dense_residual(w_is_sign: bool = True, particles: tuple[int, ...] = ()) -> Structured:
    """``affine(h, w) + identity(h)``, one draw in both."""
    draw = Draws(5)
    lead = (*particles, 1) if particles else ()
    weights = draw.signs if w_is_sign else draw.normal
    return Structured(
        ours=lambda h, w, s, t: affine(h, w, scale=s) + identity(h, scale=t),
        plain=lambda h, w, s, t: s * dense(h, w) + t * h,
        operands={
            "h": draw.signs(4, 5),
            "w": weights(*lead, 5, 5),
            "s": 0.3 + 0.2 * draw.normal(5),
            "t": 0.8 + 0.2 * draw.normal(5),
        },
        signs=("h", "w") if w_is_sign else ("h",),
    )


def convolution_residual(
    w_is_sign: bool = True,
    particles: tuple[int, ...] = (),
    kernel: tuple[int, int] = (3, 3),
    groups: int = 1,
    **window: int | tuple[int, int],
) -> Structured:
    """A convolution of a map beside the map itself, and a third draw."""
    draw = Draws(6)
    lead = (*particles, 1) if particles else ()
    weights = draw.signs if w_is_sign else draw.normal
    window = window or {"padding": 1}
    return Structured(
        ours=lambda h, w, h1, s, t: (
            identity(h, 3, scale=t)
            + identity(h1, 3, scale=0.5)
            + affine_conv2d(h, w, scale=s, groups=groups, **window)
        ),
        plain=lambda h, w, h1, s, t: (
            t[:, None, None] * h
            + 0.5 * h1
            + s[:, None, None] * convolved(h, w, groups=groups, **window)
        ),
        operands={
            "h": draw.signs(2, 4, 3, 4),
            "w": weights(*lead, 4, 4 // groups, *kernel),
            "h1": draw.signs(*particles, 2, 4, 3, 4),
            "s": 0.2 + 0.1 * draw.normal(4),
            "t": 0.8 + 0.2 * draw.normal(4),
        },
        signs=("h", "h1", "w") if w_is_sign else ("h", "h1"),
    )


SUMS = {
    "two_dense": two_dense,
    "dense_skip": dense_skip,
    "convolution_skip": convolution_skip,
    "dense_residual": dense_residual,
    "convolution_residual": convolution_residual,
}
