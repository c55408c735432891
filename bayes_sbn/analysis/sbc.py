r"""Simulation-based calibration: does inference get back what made the data?

Weights :math:`w^*` are drawn from the prior, data from the network with these weights, and a
posterior is fitted to the data.  If it is the exact one at temperature 1, then :math:`w^*` is one
more draw of it: among L draws :math:`w_1, \dots, w_L`, the rank of any quantity g,

.. math::
    r = \#\{l : g(w_l) < g(w^*)\} + V, \qquad
    V \text{ uniform on } 0, \dots, \#\{l : g(w_l) = g(w^*)\},

is uniform on 0 ... L.  ±1 weights have many ties, hence V.  Ranks at both ends speak of a posterior
that is too narrow, in the middle of one too wide, at one end of a bias.  The prior itself passes
for every quantity of the weights alone; quantities of the data tell the two apart, and one is among
those taken by default.

Variational posteriors are too narrow and fail as a rule.  What is left to ask of them is whether
they are at least not biased: whether ranks lie symmetrically about the middle.

References:
    S. Talts, M. Betancourt, D. Simpson, A. Vehtari, A. Gelman. Validating Bayesian inference
    algorithms with simulation-based calibration. arXiv:1804.06788, 2018.

    Y. Yao, A. Vehtari, D. Simpson, A. Gelman. Yes, but did it work?: Evaluating variational
    inference. ICML 2018 (symmetry; there by a two-sample test of ranks and mirrored ranks).

    M. Modrák, A. H. Moon, S. Kim, P. Bürkner, N. Huurre, K. Faltejsková, A. Gelman, A. Vehtari.
    Simulation-based calibration checking for Bayesian computation: the choice of test quantities
    shapes sensitivity. Bayesian Analysis, 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.kfold import generators_at
from bayes_sbn.analysis.simulation import (
    Weights,
    fitted_weights,
    mean_activation_log_likelihood,
    prior_weights,
    simulated_targets,
)
from bayes_sbn.analysis.small_network import Float64, SmallNetwork
from bayes_sbn.analysis.small_network_source import numbers_of, read_unbounded
from bayes_sbn.analysis.uniformity import symmetry_p_value, uniformity_p_value
from bayes_sbn.metrics.arguments import check_count, check_level

CALL = "sbc()"
MAX_NAMED_WEIGHTS = 20
"""Up to so many weights are quantities each; of more, only the sums of layers."""

Quantity = Callable[[Weights, Any, Any], npt.ArrayLike]
"""A function of weights by site (draws, out, in), x and y that gives numbers (draws,)."""


def sbc(
    model: object,
    guide_fn: Callable[[Any, Any], object],
    x: Any,
    *,
    num_simulations: int = 300,
    num_draws: int = 99,
    quantities: Mapping[str, Quantity] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> SBC:
    """Fit to data of the model's own, many times, and rank the weights that made them.

    The Bayesian posterior at temperature 1 is what it is judged by.  Scales, biases and sigma are
    those of the model and have to stay what they are: ``model.requires_grad_(False)`` leaves the
    guide alone to be fitted.

    Args:
        model: a network of ``bayes_sbn.models`` with ±1 weights, of any size.
        guide_fn: called with ``(x, y)``; it fits, and returns a guide, a
            :class:`bayes_sbn.Posterior`, an exact posterior, ``P(w = +1)`` by site, or a function
            ``(num_draws, seed)`` that gives ±1 weights by site.  Torch's generators are at a state
            of their own in each simulation.
        x: inputs of every simulation, (rows, inputs), tensor or array.
        num_simulations: how many data sets.
        num_draws: draws of each posterior, L.
        quantities: functions of weights by site (draws, out, in), x and y that give numbers
            (draws,), by name; by default every weight, where there are at most 20, the sum of each
            layer, and the log-likelihood with activations at their means.
        seed: of everything.
        progress: show a bar; default where standard error is a terminal.

    Example:
        >>> import bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(1, [1], 2, num_data=3)
        >>> def exact(x, y):
        ...     return sbn.analysis.exact_posterior(model, x, y)
        >>> found = sbn.analysis.sbc(model, exact, [[0.5], [1.0], [-1.0]], num_simulations=40)
        >>> found.flagged(level=0.001)
        []
    """
    from tqdm import tqdm

    num_simulations = check_count(CALL, "num_simulations", num_simulations, minimum=1, usual=300)
    num_draws = check_count(CALL, "num_draws", num_draws, minimum=1, usual=99)
    network = read_unbounded(CALL, model)
    if any(layer.weights is not None for layer in network.layers):
        raise ValueError(
            f"{CALL}: a layer has real weights. Pass a model whose weights are all ±1."
        )
    inputs = network.inputs(CALL, x)
    chosen = _default_quantities(network) if quantities is None else dict(quantities)
    ranks = {name: np.empty(num_simulations, np.int64) for name in chosen}
    values = {name: np.empty(num_simulations) for name in chosen}
    disable = None if progress is None else not progress
    for number in tqdm(range(num_simulations), desc=CALL, unit="fit", leave=False, disable=disable):
        generator = np.random.default_rng([seed, number])
        truth = prior_weights(network, generator)
        y = _like(x, simulated_targets(network, truth, inputs, generator))
        with generators_at(seed, number):
            fitted = guide_fn(x, y)
        _need_same_numbers(network, model, fitted)
        drawn = fitted_weights(CALL, fitted, network, num_draws, generator)
        both = {site: np.concatenate([w, drawn[site]]) for site, w in truth.items()}
        for name, quantity in chosen.items():
            own, *others = _numbers(name, quantity(both, x, y), num_draws + 1)
            below, ties = rank_range(own, np.array(others))
            ranks[name][number] = below + generator.integers(ties + 1)
            values[name][number] = (ranks[name][number] + generator.random()) / (num_draws + 1)
    return SBC(ranks, values, num_draws)


@dataclass(frozen=True, eq=False, repr=False)
class SBC:
    """Ranks of what made the data among draws of what was fitted; made by :func:`sbc`.

    Args:
        ranks: of every quantity, integers from 0 to ``num_draws``, (simulations,).
        values: the same spread evenly over [0, 1], (simulations,).
        num_draws: draws of each posterior.
    """

    ranks: Mapping[str, npt.NDArray[np.int64]]
    values: Mapping[str, Float64]
    num_draws: int

    @property
    def num_simulations(self) -> int:
        """Number of data sets."""
        return len(next(iter(self.ranks.values())))

    @property
    def uniformity(self) -> dict[str, float]:
        """P-value of uniform ranks by quantity: small where the posterior is not the exact one."""
        return {name: uniformity_p_value(values) for name, values in self.values.items()}

    @property
    def symmetry(self) -> dict[str, float]:
        """P-value of ranks symmetric about the middle: small where the posterior is biased."""
        return {name: symmetry_p_value(values) for name, values in self.values.items()}

    @property
    def p_value(self) -> float:
        """That all ranks are uniform: the least of :attr:`uniformity` times their number."""
        return min(1.0, len(self.ranks) * min(self.uniformity.values()))

    def flagged(self, level: float = 0.01) -> list[str]:
        """The quantities whose ranks are not uniform, at most ``level`` false alarms in all.

        Args:
            level: probability that an exact posterior has any quantity flagged.
        """
        level = check_level("SBC.flagged()", level)
        found = self.uniformity
        return [name for name, p in found.items() if p * len(found) < level]

    def biased(self, level: float = 0.01) -> list[str]:
        """The quantities whose ranks are not even symmetric; else as :meth:`flagged`.

        Args:
            level: probability that symmetric ranks have any quantity flagged.
        """
        level = check_level("SBC.biased()", level)
        found = self.symmetry
        return [name for name, p in found.items() if p * len(found) < level]

    def __repr__(self) -> str:
        width = max(len(name) for name in self.ranks)
        lines = [
            f"SBC({self.num_simulations} simulations, {self.num_draws} draws, p-value "
            f"{self.p_value:.3g})",
            f"  {'quantity':<{width}}{'uniform':>10}{'symmetric':>11}",
        ]
        symmetry = self.symmetry
        for name, p in self.uniformity.items():
            lines.append(f"  {name:<{width}}{p:>10.3g}{symmetry[name]:>11.3g}")
        return "\n".join(lines)


def rank_range(own: float, others: npt.NDArray[Any]) -> tuple[int, int]:
    """How many values lie below one, and how many equal it."""
    return int((others < own).sum()), int((others == own).sum())


def _default_quantities(network: SmallNetwork) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for site, shape in network.sites.items():
        if network.num_weights <= MAX_NAMED_WEIGHTS:
            for unit, place in np.ndindex(shape):
                found[f"{site}[{unit}, {place}]"] = _weight(site, unit, place)
        found[f"sum of {site}"] = _sum_of(site)

    def log_likelihood(weights: Weights, x: Any, y: Any) -> Float64:
        inputs = network.inputs(CALL, x)
        exact = mean_activation_log_likelihood(network, weights, inputs, np.asarray(y))
        return np.round(exact, 9)  # states that are the same network are ties

    found["log-likelihood"] = log_likelihood
    return found


def _weight(site: str, unit: int, place: int) -> Quantity:
    return lambda weights, *_: weights[site][:, unit, place]


def _sum_of(site: str) -> Quantity:
    return lambda weights, *_: weights[site].sum((1, 2))


def _like(x: Any, y: npt.NDArray[Any]) -> Any:
    """Targets as tensors where inputs are."""
    if not hasattr(x, "detach"):
        return y
    import torch

    tensor = torch.from_numpy(y).to(x.device)
    return tensor if y.dtype.kind == "i" else tensor.to(x.dtype)


def _numbers(name: str, values: object, number: int) -> list[float]:
    found = np.asarray(values, np.float64)
    if found.shape != (number,) or np.isnan(found).any():
        raise ValueError(
            f"{CALL}: quantity {name!r} gave an array of shape {found.shape}; it is one number, "
            f"not NaN, for each of the {number} draws along the first dim of the weights. Write "
            "lambda weights, x, y: weights[site].sum((1, 2)), say."
        )
    return [float(value) for value in found]


def _need_same_numbers(network: SmallNetwork, model: object, fitted: object) -> None:
    """Raise if a fit changed what is no weight, of the model or of its posterior."""
    from bayes_sbn.posterior import Posterior

    for what, other in (("the model", model), ("the posterior", fitted)):
        if other is fitted and not isinstance(fitted, Posterior):
            continue
        now = numbers_of(read_unbounded(CALL, other))
        if not all(map(np.array_equal, numbers_of(network), now)):
            raise ValueError(
                f"{CALL}: scales, biases, sigma or priors of {what} are no longer those that made "
                "the data, so that its posterior is that of another model. Call "
                "model.requires_grad_(False) before sbc(), so that only the guide is fitted."
            )
