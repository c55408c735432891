r"""The components of a posterior: networks of one shape and their weights.

    ``q(w) = sum_c pi_c q_c(w)``

A component has layers of its own, with scales, biases and laws of the noise, so that restarts of a
fit, which share nothing, are as much a mixture as the components of one guide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bayes_sbn.kernels.reference.components import LARGEST_NUM_COMPONENTS
from bayes_sbn.posterior_chain import Layer

T = TypeVar("T")

_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Component:
    """A network of a posterior, and the probability that a draw is of it.

    Args:
        weight: the probability.
        layers: from the inputs to the logits; the last alone has no noise.
        sigma: standard deviation of a real target's noise; None of class labels.
    """

    weight: float
    layers: tuple[Layer, ...]
    sigma: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", float(self.weight))
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "sigma", None if self.sigma is None else float(self.sigma))

    def mode(self) -> Component:
        """The component with every weight fixed."""
        return Component(self.weight, tuple(layer.mode() for layer in self.layers), self.sigma)

    @property
    def entropy(self) -> float:
        """Entropy of all ±1 weights, in bits."""
        return sum(layer.entropy for layer in self.layers)


def components_of(
    components: Sequence[Component] | Sequence[Layer],
) -> tuple[Component, ...]:
    """Components as they are, or layers as the one component that they make.

    Raises:
        TypeError: they are neither, or both.
    """
    given: tuple[object, ...] = tuple(components)
    found = tuple(each for each in given if isinstance(each, Component))
    if found and len(found) == len(given):
        return found
    layers = tuple(each for each in given if isinstance(each, Layer))
    if len(layers) < len(given):
        others = sorted({type(each).__name__ for each in given if not isinstance(each, Layer)})
        raise TypeError(
            f"Posterior(components): received {', '.join(others)}. They are the layers of one "
            "network, or a Component of each of several. Posteriors are mixed by "
            "Posterior.mixture([a, b])."
        )
    return (Component(1.0, layers),)


def check_components(components: Sequence[Component]) -> None:
    """Raise unless the weights are probabilities and the networks of one shape."""
    weights = [component.weight for component in components]
    if len(weights) > LARGEST_NUM_COMPONENTS:
        raise ValueError(
            f"Posterior: {len(weights)} components; there are at most {LARGEST_NUM_COMPONENTS}."
        )
    if not all(weight >= 0 for weight in weights) or abs(sum(weights) - 1) > _SUM_TOLERANCE:
        raise ValueError(
            f"Posterior: the components have weights {weights}: they are probabilities, of sum 1. "
            "Posterior.mixture(posteriors, weights) takes any that are not negative."
        )
    first = _shape(components[0].layers)
    for index, component in enumerate(components):
        if _shape(component.layers) != first:
            raise ValueError(
                f"Posterior: component {index} has layers {_said(_shape(component.layers))} and "
                f"component 0 has {_said(first)}: components have layers of the same sizes and "
                "kinds. Average the probs_per_draw of ensembles of each instead."
            )


def _shape(layers: Sequence[Layer]) -> list[tuple[object, ...]]:
    """What the layers of all components have in common."""
    return [
        (layer.num_inputs, layer.num_units, layer.num_weights > 0, layer.is_recalibrated)
        for layer in layers
    ]


def _said(shape: list[tuple[object, ...]]) -> str:
    kinds = {True: "±1", False: "real"}
    return ", ".join(
        f"{inputs}-{units} ({kinds[bool(signs)]}{', recalibrated' if measured else ''})"
        for inputs, units, signs, measured in shape
    )


def normalised(weights: Sequence[float] | None, number: int) -> list[float]:
    """Weights of sum 1, equal ones by default; raise if they are not those of a mixture."""
    if weights is None:
        return [1 / number] * number
    given = np.asarray(weights, np.float64)
    if given.shape != (number,) or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(
            f"Posterior.mixture(weights={weights!r}): they are {number} finite numbers, one for "
            "each posterior, not negative. Leave them out for equal ones."
        )
    total = math.fsum(given)
    if total == 0:
        raise ValueError(
            f"Posterior.mixture(weights={weights!r}): one of them at least is positive."
        )
    return [float(weight) / total for weight in given]


def mixable(kind: type[T], posteriors: Sequence[T]) -> T:
    """The first of posteriors that predict the same thing; raise if they do not."""
    for each in posteriors:
        if not isinstance(each, kind):
            raise TypeError(
                f"Posterior.mixture(posteriors): received {type(each).__name__}; they are "
                "posteriors. Write Posterior.mixture([Posterior.from_guide(model, guide), ...])."
            )
    if not posteriors:
        raise ValueError("Posterior.mixture(posteriors=[]): there is at least one posterior.")
    for name, advice in (
        ("input_scale", "Give Posterior.from_guide the same input_range for each"),
        ("likelihood", "Mix posteriors of one kind of data"),
    ):
        found = sorted({getattr(each, name) for each in posteriors})
        if len(found) > 1:
            raise ValueError(
                f"Posterior.mixture(posteriors): they have {name} {', '.join(map(str, found))}; "
                f"it is the same for all. {advice}."
            )
    return posteriors[0]
