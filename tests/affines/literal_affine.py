"""Dense pre-activations and unit functions in NumPy, and all their flips by definition."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats

from bayes_sbn.affines import (
    Affine,
    BernoulliLogLikelihood,
    MeanSign,
    NormalLogLikelihood,
    RelaxedSign,
    SignLogProb,
    UnitFunction,
    affine,
)
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, tag_sign
from tests import oracle_noise
from tests.oracle_flips import literal_differences

Array = NDArray[np.float64]

NOISE_SCALE = 1.3
EXACT = FlipRule(real_inputs="exact")


@dataclass
class Operands:
    """The operands of ``a = s (W x) + b`` with ``s`` a number or one per unit."""

    x: Array
    w: Array
    scale: float | Array | None = None
    bias: Array | None = None
    x_is_sign: bool = True
    w_is_sign: bool = True

    def value(self, x: Array, w: Array) -> Array:
        """The pre-activation at other inputs and weights, by its definition."""
        matrix = w if x.ndim == 1 or w.ndim == 2 else w[..., 0, :, :]
        rows = x if x.ndim > 1 else x[None]
        a = np.einsum("...ni,...ji->...nj", rows, matrix)
        a = a if x.ndim > 1 else a[..., 0, :]
        a = a * (1.0 if self.scale is None else self.scale)
        return a if self.bias is None else a + self.bias

    def affine(
        self, rule: FlipRule = EXACT, dtype: torch.dtype = torch.float64
    ) -> tuple[Affine, torch.Tensor, torch.Tensor]:
        """The package's affine of draws that are to be flipped, and the leaves behind them."""
        leaves, tensors = [], []
        for array, is_sign in ((self.x, self.x_is_sign), (self.w, self.w_is_sign)):
            leaf = torch.tensor(array, dtype=dtype, requires_grad=is_sign)
            leaves.append(leaf)
            tensors.append(tag_sign(leaf, "site", rule) if is_sign else leaf)
        scale = torch.tensor(self.scale, dtype=dtype) if np.ndim(self.scale) else self.scale
        bias = None if self.bias is None else torch.tensor(self.bias, dtype=dtype)
        return affine(*tensors, bias, scale=scale), *leaves

    def flips(self, objective: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Half the literal differences of an objective of ``a`` in x and in W, entry by entry."""
        of_x = literal_differences(lambda x: objective(self.value(x, self.w)), self.x)
        of_w = literal_differences(lambda w: objective(self.value(self.x, w)), self.w)
        return 0.5 * of_x, 0.5 * of_w


def operands(
    seed: int = 0,
    *,
    x_shape: tuple[int, ...] = (4, 3),
    w_shape: tuple[int, ...] = (2, 3),
    x_is_sign: bool = True,
    w_is_sign: bool = True,
    scale: str = "unit",
    bias: tuple[int, ...] | None = (2,),
) -> Operands:
    """Random operands; ``scale`` is "none", "number" or "unit"."""
    generator = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...], is_sign: bool) -> Array:
        values = generator.normal(0.0, 1.0, shape)
        return np.where(values < 0, -1.0, 1.0) if is_sign else values

    x, w = draw(x_shape, x_is_sign), draw(w_shape, w_is_sign)
    alternating = np.where(np.arange(w_shape[-2]) % 2, -1.0, 1.0)
    scales = {
        "none": None,
        "number": 0.7,
        "unit": generator.uniform(0.3, 0.9, w_shape[-2]) * alternating,
    }
    offset = None if bias is None else generator.normal(0.0, 0.3, bias)
    return Operands(x, w, scales[scale], offset, x_is_sign, w_is_sign)


@dataclass
class Unit:
    """A unit function of the package beside its definition."""

    torch: UnitFunction
    numpy: Callable[[Array], Array]

    def at(self, dtype: torch.dtype) -> UnitFunction:
        """The package's function with its states, labels, targets in another type."""
        if isinstance(self.torch, RelaxedSign):
            return replace(self.torch, injected=tuple(z.to(dtype) for z in self.torch.injected))
        tensors = {
            field.name: value.to(dtype)
            for field in fields(self.torch)
            if isinstance(value := getattr(self.torch, field.name), torch.Tensor)
        }
        return replace(self.torch, **tensors)


def unit(name: str, shape: tuple[int, ...], noise: str = "logistic", seed: int = 1) -> Unit:
    """The unit function ``name`` with random states, labels, targets of the shape of ``a``."""
    generator = np.random.default_rng(seed)
    law = get_noise(noise, NOISE_SCALE)
    sign = np.where(generator.uniform(size=shape) < 0.5, -1.0, 1.0)
    label, target = (1 + sign) / 2, generator.normal(size=shape)
    injected = generator.normal(size=(3, *shape))
    sigma = np.broadcast_to(generator.uniform(0.5, 1.5, shape[-1]), shape)
    smallest = math.log(np.finfo(np.float64).tiny)

    def log_cdf(a: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(oracle_noise.cdf(noise, sign * a, NOISE_SCALE)), smallest)

    return {
        "mean": lambda: Unit(
            MeanSign(law), lambda a: 2 * oracle_noise.cdf(noise, a, NOISE_SCALE) - 1
        ),
        "log_prob": lambda: Unit(SignLogProb(law, torch.tensor(sign)), log_cdf),
        "bernoulli": lambda: Unit(
            BernoulliLogLikelihood(torch.tensor(label)),
            lambda a: label * special.log_expit(a) + (1 - label) * special.log_expit(-a),
        ),
        "normal": lambda: Unit(
            NormalLogLikelihood(torch.tensor(target), torch.tensor(sigma)),
            lambda a: stats.norm.logpdf(target, a, sigma),
        ),
        "relaxed": lambda: Unit(
            RelaxedSign(tuple(torch.tensor(injected)), 0.6),
            lambda a: (2 * special.expit((a - injected) / 0.6) - 1).mean(0),
        ),
    }[name]()


UNITS = [
    *(("mean", noise) for noise in oracle_noise.NOISES),
    *(("log_prob", noise) for noise in oracle_noise.NOISES),
    ("bernoulli", "logistic"),
    ("normal", "logistic"),
    ("relaxed", "logistic"),
]
"""Every unit function with every noise it depends on."""
