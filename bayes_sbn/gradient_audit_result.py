"""What an audit of gradient estimators found, as numbers, a table and a picture."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXACT = "exact"
"""The name of the exact gradient among those that are compared."""

TOTAL = "all"
"""The name of all blocks together."""


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error: 0 where it is exact, NaN where the error is not known."""

    value: float
    error: float = 0.0

    @property
    def low(self) -> float:
        """Two standard errors below."""
        return self.value - 2 * self.error

    @property
    def high(self) -> float:
        """Two standard errors above."""
        return self.value + 2 * self.error

    def __str__(self) -> str:
        return number(self.value) + (f" ± {number(self.error)}" if self.error else "")


@dataclass(frozen=True)
class BlockAudit:
    """One estimator on one block of parameters.

    Args:
        entries: numbers in the block.
        squared_norm: ``|E g|^2``, estimated without bias, so that noise may make it negative.
        variance: ``E |g - E g|^2`` of one step, summed over the entries.
        squared_bias: ``|E g - truth|^2``, also without bias; None where there is no truth.
    """

    entries: int
    squared_norm: Estimate
    variance: Estimate
    squared_bias: Estimate | None

    @property
    def norm(self) -> float:
        """``|E g|``; 0 where noise hides it."""
        return math.sqrt(max(self.squared_norm.value, 0.0))

    @property
    def relative_std(self) -> float:
        """The standard deviation of one step over ``|E g|``; infinite where noise hides it."""
        return math.sqrt(self.variance.value) / self.norm if self.norm else _ratio(self.variance)

    @property
    def bias(self) -> float | None:
        """``|E g - truth|``; 0 where noise hides it, None where there is no truth."""
        return None if self.squared_bias is None else _root(self.squared_bias.value)

    @property
    def bias_interval(self) -> tuple[float, float] | None:
        """The bias at two standard errors of its square below and above.

        Noise may make the estimated square negative; the upper end is then that of a square of 0.
        """
        square = self.squared_bias
        if square is None:
            return None
        return _root(square.low), _root(max(square.value, 0.0) + 2 * square.error)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is infinite or not a number is None."""
        bias = self.squared_bias
        return {
            "entries": self.entries,
            "squared_norm": _plain(self.squared_norm),
            "variance": _plain(self.variance),
            "squared_bias": None if bias is None else _plain(bias),
            "relative_std": _finite(self.relative_std),
        }


@dataclass(frozen=True)
class EstimatorAudit:
    """One estimator on all blocks.

    Args:
        label: its name in the audit.
        is_exact: whether its law was enumerated; else its numbers come from repeats.
        particles: draws that one step averages over.
        passes: network evaluations of one step, reruns included.
        seconds: the median time of one step.
        blocks: by the parameter's name.
        total: all blocks together.
        mean: the mean gradient of each block.
    """

    label: str
    is_exact: bool
    particles: int
    passes: int
    seconds: float
    blocks: Mapping[str, BlockAudit]
    total: BlockAudit
    mean: Mapping[str, npt.NDArray[np.float64]]

    def __getitem__(self, block: str) -> BlockAudit:
        """A block by the parameter's name, or ``"all"``."""
        if block == TOTAL:
            return self.total
        if block not in self.blocks:
            raise KeyError(f'{block!r} is no block; they are {", ".join(self.blocks)} and "all".')
        return self.blocks[block]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the mean gradients."""
        return {
            "is_exact": self.is_exact,
            "particles": self.particles,
            "passes": self.passes,
            "seconds": self.seconds,
            "all": self.total.to_dict(),
            "blocks": {name: block.to_dict() for name, block in self.blocks.items()},
        }


@dataclass(frozen=True)
class Audit:
    """Gradient estimators on one network and batch; ``print`` shows tables.

    Args:
        estimators: by label, in the order in which they were asked for.
        cosines: the cosine of two mean gradients by pair of labels, then by block or ``"all"``;
            the exact gradient takes part under ``"exact"``.
        reference: what biases are against: ``"exact"``, the label of an unbiased estimator, or
            None where there is neither.
        num_bits: latent bits of one step, weights and activations of the batch.
        exact_bits: up to how many of them states were enumerated.
        why_sampled: why there is no exact gradient; empty where there is.
        repeats: gradients behind each number that was sampled.
        seed: of the draws.
    """

    estimators: Mapping[str, EstimatorAudit]
    cosines: Mapping[tuple[str, str], Mapping[str, Estimate]]
    reference: str | None
    num_bits: int
    exact_bits: int
    why_sampled: str
    repeats: int
    seed: int

    def __getitem__(self, label: str) -> EstimatorAudit:
        """An estimator by its label."""
        if label not in self.estimators:
            raise KeyError(f"audit[{label!r}]: it has {', '.join(self.estimators)}.")
        return self.estimators[label]

    def __iter__(self) -> Iterator[EstimatorAudit]:
        return iter(self.estimators.values())

    def __len__(self) -> int:
        return len(self.estimators)

    def cosine(self, first: str, second: str, block: str = TOTAL) -> Estimate:
        """The cosine of the mean gradients of two estimators, or of one and ``"exact"``."""
        pair = (first, second) if (first, second) in self.cosines else (second, first)
        if pair not in self.cosines:
            names = ", ".join(dict.fromkeys(label for pair in self.cosines for label in pair))
            raise KeyError(f"cosine({first!r}, {second!r}): the gradients compared are {names}.")
        return self.cosines[pair][block]

    def __str__(self) -> str:
        from bayes_sbn.gradient_audit_table import tables

        return tables(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The tables, for notebooks."""
        return f"<pre>{html.escape(str(self))}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings; what is infinite or not a number is None."""
        return {
            "num_bits": self.num_bits,
            "exact_bits": self.exact_bits,
            "why_sampled": self.why_sampled,
            "reference": self.reference,
            "repeats": self.repeats,
            "seed": self.seed,
            "estimators": {found.label: found.to_dict() for found in self},
            "cosines": [
                {"first": first, "second": second, **{b: _plain(c) for b, c in blocks.items()}}
                for (first, second), blocks in self.cosines.items()
            ],
        }

    def to_json(self) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Standard deviation and bias of one step, block by block.

        Args:
            ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        """
        from bayes_sbn.gradient_audit_plot import draw_audit

        return draw_audit(self, ax)


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0)) if not math.isnan(square) else math.nan


def _ratio(variance: Estimate) -> float:
    return math.inf if variance.value > 0 else math.nan


def number(value: float) -> str:
    """Three digits; what is 0 up to rounding is 0."""
    return "0" if abs(value) < 1e-12 else f"{value:.3g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {"value": _finite(estimate.value), "error": _finite(estimate.error)}
