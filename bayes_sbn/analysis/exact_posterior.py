r"""The posterior of a network of few ±1 weights by Bayes' rule, all of its states listed.

For weights w of prior p(w), data D and a temperature T,

.. math::
    \pi(w) = \frac{p(w)\, e^{\ell(w) / T}}{\sum_{w'} p(w')\, e^{\ell(w') / T}}, \qquad
    T \log \sum_w p(w)\, e^{\ell(w) / T} \;\ge\;
    \mathbb{E}_q \ell(w) - T\, \mathrm{KL}(q \,\|\, p),

with equality for :math:`q = \pi` alone.  There are two :math:`\ell`: the log-likelihood
:math:`\log p(D | w)`, its activations summed out, which makes π the Bayesian posterior at T = 1
(``target="bayes"``); and the bound on it by Jensen's inequality,
:math:`\mathbb{E}_{z | w} \log p(D | z, w)`, which the ELBOs of this package train
(``target="trained"``).  Scales, biases, sigma and the statistics of normalised layers are as they
are now; they have no posterior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.activation_sums import TARGETS, blocks, by_layers, log_likelihoods, targets
from bayes_sbn.analysis.exact_predictive import ExactPredictive
from bayes_sbn.analysis.posterior_gap import PosteriorGap, gap_between, log_probs_of
from bayes_sbn.analysis.small_network import Float64, Int64, SmallNetwork
from bayes_sbn.analysis.small_network_source import read_network


def exact_posterior(
    model: object,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    temperature: float = 1.0,
    target: str = "bayes",
    progress: bool | None = None,
) -> ExactPosterior:
    """The posterior over all states of at most 20 ±1 weights.

    Costs ``2**weights * rows`` runs of the network, each of which sums over the states of the
    hidden units.

    Args:
        model: a network of ``bayes_sbn.models`` with ±1 weights, or a :class:`bayes_sbn.Posterior`,
            whose priors, scales and biases are used, whose real weights must be points, and which
            rounds inputs to its grid.
        x: inputs, (rows, inputs); all the data, of which there may be none.
        y: labels or real targets, (rows,).
        temperature: T; the likelihood counts ``1 / T`` times.
        target: ``"bayes"`` for the likelihood itself, ``"trained"`` for the bound on it that is
            trained.
        progress: show a bar; default where standard error is a terminal.

    Raises:
        TypeError: the model states no network.
        ValueError: there are too many weights or units, or numbers are not allowed.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(2, [2], 2, num_data=4)
        >>> x, y = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 1, 1, 0]
        >>> exact = sbn.analysis.exact_posterior(model, x, y)
        >>> exact
        ExactPosterior(8 ±1 weights, 4 rows, log evidence -2.883)
        >>> exact.weight_probabilities()["output.weight"].shape
        (2, 2)
    """
    from tqdm import tqdm

    call = "exact_posterior()"
    if not (isinstance(temperature, int | float) and 0 < temperature < math.inf):
        raise ValueError(
            f"{call}: temperature={temperature!r} is not a positive finite number. Write "
            "temperature=1.0, or the number that a fit was made with, fit.temperature."
        )
    if target not in TARGETS:
        raise ValueError(f"{call}: target={target!r} is none of {', '.join(map(repr, TARGETS))}.")
    network = read_network(call, model)
    inputs = network.inputs(call, x)
    observed = targets(call, network, y, len(inputs))
    total = np.zeros(2**network.num_weights)
    table = by_layers(network, total)
    size = len(total) * len(inputs)
    disable = None if progress is None else not progress
    with tqdm(total=size, desc=call, unit_scale=True, leave=False, disable=disable) as bar:
        for block in blocks(network, inputs):
            found = log_likelihoods(network, block, observed[block.rows], target)
            table[block.states] += found.sum(1).T
            bar.update(found.size)
    return ExactPosterior(
        network, network.log_prior(), total, float(temperature), target, len(inputs)
    )


@dataclass(frozen=True, eq=False)
class ExactPosterior:
    """Every state of few ±1 weights with its probability; made by :func:`exact_posterior`.

    It states its ``weight_probabilities()`` and ``prior_probabilities()`` as a guide does, so that
    ``Posterior.from_guide(model, exact)`` is the product of its marginals.

    Args:
        network: the network.
        log_prior: log prior probability of every state, (states,).
        log_likelihood: of the data given every state, (states,).
        temperature: T.
        target: what ``log_likelihood`` is, ``"bayes"`` or ``"trained"``.
        num_rows: rows of the data.
    """

    network: SmallNetwork
    log_prior: Float64
    log_likelihood: Float64
    temperature: float
    target: str
    num_rows: int

    @property
    def num_weights(self) -> int:
        """Number of ±1 weights, K."""
        return self.network.num_weights

    def __len__(self) -> int:
        """The number of states, 2**K."""
        return len(self.log_prior)

    @cached_property
    def log_evidence(self) -> float:
        """``T log sum_w p(w) exp(l(w) / T)``; at T = 1 of the Bayesian target, log p(D).

        No ELBO at this temperature exceeds it.
        """
        total = self.log_prior + self.log_likelihood / self.temperature
        top = float(total.max())
        return self.temperature * (top + math.log(np.exp(total - top).sum()))

    @cached_property
    def log_probs(self) -> Float64:
        """Log posterior probability of every state, (states,)."""
        log_evidence = self.log_evidence / self.temperature
        return self.log_prior + self.log_likelihood / self.temperature - log_evidence

    @cached_property
    def probs(self) -> Float64:
        """Posterior probability of every state, (states,)."""
        return np.exp(self.log_probs)

    @cached_property
    def entropy(self) -> float:
        """Entropy of the posterior over the states, in bits."""
        known = self.probs > 0
        return float(-(self.probs[known] * self.log_probs[known]).sum() / math.log(2))

    def weights(self, states: npt.ArrayLike) -> dict[str, Float64]:
        """The ±1 weights of states by site, float64, each of shape (states, out, in).

        Args:
            states: their numbers: bit i is set where weight i is +1.
        """
        numbers = np.asarray(states)
        is_right = numbers.ndim == 1 and numbers.dtype.kind in "iu"
        if not is_right or (numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self)):
            raise ValueError(
                f"ExactPosterior.weights() needs numbers of states, integers from 0 to "
                f"{len(self) - 1} in one dimension: received {states!r}. Write "
                "weights([exact.probs.argmax()])."
            )
        signs = self.network.states(numbers.astype(np.int64))
        return self.network.split(signs.astype(np.float64))

    def weight_probabilities(self) -> dict[str, Float64]:
        """The marginal ``P(w = +1)`` of every ±1 weight by site, (out, in)."""
        return self.network.split(marginals(self.probs, self.num_weights))

    def prior_probabilities(self) -> dict[str, Float64]:
        """The prior ``P(w = +1)`` of every ±1 weight by site, (out, in)."""
        layers = self.network.layers
        return {layer.site: layer.prior.copy() for layer in layers if layer.prior is not None}

    def sample(self, num_draws: int, seed: int = 0) -> Int64:
        """Numbers of states drawn from the posterior, (draws,); :meth:`weights` has their weights.

        Args:
            num_draws: how many.
            seed: of NumPy's generator; the same seed gives the same draws.
        """
        uniform = np.random.default_rng(seed).random(num_draws)
        cumulative = np.cumsum(self.probs)
        drawn = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
        return np.asarray(drawn, np.int64)

    def predictive(self, x: npt.ArrayLike) -> ExactPredictive:
        """The predictive distribution of new rows, averaged over all states.

        Args:
            x: inputs, (rows, inputs).
        """
        return ExactPredictive(self.network, self.log_probs, x)

    def compare(self, q: object) -> PosteriorGap:
        """How far another law over the same weights is from this posterior.

        Args:
            q: a guide that states its ``weight_probabilities()``, a :class:`bayes_sbn.Posterior`
                of one or more components, ``P(w = +1)`` by site, or another exact posterior.
        """
        if isinstance(q, ExactPosterior):
            if q.network.sites != self.network.sites:
                raise ValueError(
                    f"ExactPosterior.compare(): the other posterior has weights {q.network.sites} "
                    f"and this one {self.network.sites}; they are of the same network."
                )
            log_q = q.log_probs
        else:
            log_q = log_probs_of("ExactPosterior.compare()", q, self.network)
        return gap_between(log_q, self.log_probs, self.temperature, self.log_evidence)

    def __repr__(self) -> str:
        hot = "" if self.temperature == 1 else f", temperature {self.temperature:g}"
        trained = "" if self.target == "bayes" else f", {self.target} target"
        return (
            f"ExactPosterior({self.num_weights} ±1 weights, {self.num_rows} rows, log evidence "
            f"{self.log_evidence:.3f}{hot}{trained})"
        )


def marginals(probs: Float64, num_weights: int) -> Float64:
    """``P(w_i = +1)`` of each weight under probabilities of all states, (weights,)."""
    cube = probs.reshape((2,) * num_weights)  # the last axis is the lowest bit, weight 0
    found = [np.take(cube, 1, axis=num_weights - 1 - i).sum() for i in range(num_weights)]
    return np.asarray(found, np.float64)
