r"""Normalised layers of ±1 weights, and the statistics that survive the sampling of bits.

The products ``p_j = sum_i w_ji x_i`` of a layer are brought to mean 0 and variance 1 over the rows,

    a_j = gamma_j (p_j - m_j) / sqrt(v_j + eps) + beta_j,

an ordinary pre-activation with scale ``k = gamma / sqrt(v + eps)`` and bias ``beta - k m``.
With means ``E[p_nj]`` and variances ``Var[p_nj]`` of the products of row n,

    m_j = mean_n E[p_nj],        v_j = mean_n ( Var[p_nj] + (E[p_nj] - m_j)^2 ).

*Propagated* (:func:`propagated`), they are those of the laws of the weights, with means mu, and do
not depend on what is drawn:

    E[p_nj] = sum_i mu_ji phi_ni,
    Var[p_nj] = sum_i (1 - mu_ji^2) x_ni^2  of given inputs x = phi,
                D - sum_i mu_ji^2 phi_ni^2  of D random ±1 inputs with means phi,

the means of the next layer's inputs being those of :mod:`bayes_sbn.affines.moments`.  To a flip of
a bit they are constants, and so flips stay exact; they are functions of parameters (mu, gamma and
beta of the layers below), and derivatives go through them like through the scale itself.

*Measured* (:func:`statistics_of` a product of draws), ``E[p] = p`` and ``Var[p] = 0``: those of one
draw of the weights.  They move with its bits, which the gradient ignores: they are constants to it.

Reference:
    Peters, Welling. Probabilistic Binary Neural Networks. arXiv:1809.03368, 2018.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from pyro.distributions import constraints
from pyro.nn import PyroParam
from torch import Tensor

from bayes_sbn.affines import Affine, affine
from bayes_sbn.affines.moments import variance
from bayes_sbn.distributions import NoisySign
from bayes_sbn.models.binary_layer import BinaryLinear
from bayes_sbn.noise import Noise
from bayes_sbn.signs import expectation, tag_moments

FROZEN, ANALYTIC, RECALIBRATED = "frozen", "analytic", "recalibrated"
NORMALISATIONS = (ANALYTIC, FROZEN, RECALIBRATED)

EPS = 1e-5
"""What is added to a variance, so that units that never change have a scale."""

MOMENTUM = 0.1
"""The weight of the newest batch in running averages."""


class Statistics(NamedTuple):
    """Mean and variance of the products of each unit, (units,) or (particles, 1, units)."""

    mean: Tensor
    variance: Tensor


class NormalisedLinear(BinaryLinear):
    """Dense layer with ±1 weights whose products are normalised; ``scale`` is gamma, ``bias`` beta.

    Args:
        in_features: number of inputs.
        out_features: number of units.
        normalisation: where the statistics come from.
        prior_logit: log-odds of +1 in the prior.
    """

    mean: Tensor
    variance: Tensor
    is_measured: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        normalisation: str,
        prior_logit: float = 0.0,
    ) -> None:
        super().__init__(in_features, out_features, prior_logit=prior_logit)
        self.normalisation = normalisation
        self.scale = PyroParam(torch.ones(out_features), constraint=constraints.positive)
        if normalisation != RECALIBRATED:  # whose statistics belong to a draw, and are not kept
            self.register_buffer("mean", torch.zeros(out_features))
            self.register_buffer("variance", torch.ones(out_features))
            self.register_buffer("is_measured", torch.tensor(False))

    def forward(self, x: Tensor, statistics: Statistics | None = None) -> Affine:
        """The lazy pre-activation; without statistics it is normalised by its own."""
        product = affine(x, self.weight)
        if statistics is None:
            _refuse_states_of_all_rows(x)
            statistics = statistics_of(product)
        return normalised(product, statistics, self.scale, self.bias)

    @property
    def couples_rows(self) -> bool:
        """Whether a run on rows of a batch needs all of them: the statistics are theirs."""
        if self.normalisation == FROZEN or (self.normalisation == ANALYTIC and not self.training):
            return not self.is_measured
        return True

    def keep(self, found: Statistics, momentum: float = 1.0) -> None:
        """Take statistics into the running averages, whole if they are the first."""
        weight = momentum if self.is_measured else 1.0
        with torch.no_grad():
            self.mean.lerp_(found.mean.to(self.mean), weight)
            self.variance.lerp_(found.variance.to(self.variance), weight)
            self.is_measured.fill_(True)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Scale and bias, float64, of the ordinary layer that this one is by its kept statistics.

        Where it keeps none, gamma and beta themselves.
        """
        gamma, beta = self.scale.detach().double(), self.bias.detach().double()
        if self.normalisation == RECALIBRATED:
            return gamma, beta
        scale = gamma / (self.variance.double() + EPS).sqrt()
        return scale, beta - scale * self.mean.double()

    def extra_repr(self) -> str:
        """For printing."""
        return f"{super().extra_repr()}, normalisation={self.normalisation!r}"


def normalised(product: Affine, found: Statistics, gain: Tensor, shift: Tensor) -> Affine:
    """``gain (p - m) / sqrt(v + eps) + shift``, an ordinary pre-activation."""
    factor = gain * (found.variance + EPS).rsqrt()
    return product.scaled(factor, shift - factor * found.mean)


def statistics_of(product: Affine) -> Statistics:
    """Mean and variance of each unit over the rows: of moments, or, as constants, of draws.

    Raises:
        ValueError: one row of draws, which has no variance.
    """
    each, spread = product.tensor.detach(), torch.zeros(())
    if product.holds_moments:
        each, spread = product.tensor, variance(product)
    elif each.shape[-2] < 2:
        raise ValueError(
            'BinaryMLP(normalisation="recalibrated"): a batch of one row has no variance to be '
            "normalised by. Give batches of two rows or more; with fit, a batch_size= that leaves "
            "no single row at the end of an epoch."
        )
    mean = each.mean(-2, keepdim=True)
    total = (spread.to(each) + (each - mean).square()).mean(-2, keepdim=True)
    if each.dim() == 2:
        return Statistics(mean.squeeze(-2), total.squeeze(-2))
    return Statistics(mean, total)


def propagated(
    x: Tensor, means: Sequence[Tensor], layers: Sequence[NormalisedLinear], noise: Noise
) -> list[Statistics]:
    """The statistics of every hidden layer by propagation of moments, differentiable.

    Args:
        x: the rows, (rows, inputs).
        means: of the ±1 weights of each layer, (out, in).
        layers: whose gains and shifts they are.
        noise: of the activations.
    """
    found: list[Statistics] = []
    for k, (mean, layer) in enumerate(zip(means, layers, strict=True)):
        product = affine(x, tag_moments(mean, f"weights of layer {k}", ANALYTIC))
        found.append(statistics_of(product))
        if k + 1 < len(means):  # the noise absorbs the variance of the products
            law = NoisySign(normalised(product, found[-1], layer.scale, layer.bias), noise)
            x = tag_moments(law.mean, f"layer {k}", ANALYTIC)
    return found


def statistics_of_run(
    normalisation: str | None,
    layers: Iterable[Any],
    noise: Noise,
    x: Tensor,
    *,
    is_training: bool,
    is_step: bool,
) -> list[Statistics] | None:
    """What the layers of one run are normalised by; None where they need none or measure theirs.

    Args:
        normalisation: of the network.
        layers: its hidden layers, of which the weights have been drawn.
        noise: of the activations.
        x: the rows.
        is_training: whether the rows have a say; else those of the fit had.
        is_step: whether it is a step of a fit, which changes what is kept.
    """
    if normalisation in (None, RECALIBRATED):
        return None
    layers = list(layers)
    if normalisation == FROZEN or not is_training:
        if is_complete(normalisation, layers):
            return [Statistics(layer.mean, layer.variance) for layer in layers]
        if not is_training:
            raise RuntimeError(no_statistics("BinaryMLP(x, y) in eval mode", normalisation))
    means = [mean_of_weights(layer.weight) for layer in layers]
    found = propagated(x, means, layers, noise)
    if normalisation == FROZEN:
        found = [Statistics(*(t.detach() for t in each)) for each in found]
    if is_step:
        for layer, each in zip(layers, found, strict=True):
            layer.keep(each, MOMENTUM)
    return found


def is_complete(normalisation: str | None, layers: Iterable[Any]) -> bool:
    """Whether all layers that are to keep statistics have them."""
    return normalisation in (None, RECALIBRATED) or all(layer.is_measured for layer in layers)


def no_statistics(call: str, normalisation: str | None) -> str:
    """The message of a call that comes too early."""
    return (
        f"{call}: the statistics of normalisation={normalisation!r} have not been measured yet. "
        "Fit the model, or write model.calibrate(guide, x)."
    )


@torch.no_grad()
def calibrate_layers(
    normalisation: str | None, layers: Iterable[Any], noise: Noise, guide: Any, x: Tensor
) -> None:
    """Let layers keep the statistics that the guide's weights have on rows.

    Raises:
        ValueError: the layers keep none, or the guide is that of another network.
        TypeError: the guide states no probabilities of its weights.
    """
    call = "BinaryMLP.calibrate"
    if normalisation in (None, RECALIBRATED):
        remedy = 'Write BinaryMLP(..., normalisation="analytic").'
        if normalisation == RECALIBRATED:
            remedy = "Each draw has its own: write posterior.draw(200, seed=0, calibrate=x)."
        raise ValueError(
            f"{call}: the model has normalisation={normalisation!r}, and keeps no statistics. "
            f"{remedy}"
        )
    layers = list(layers)
    if not hasattr(guide, "weight_probabilities"):
        raise TypeError(
            f"{call}: the guide is a {type(guide).__name__}, which does not state its "
            "weight_probabilities(). Give a guide such as AutoSignBernoulli(model)."
        )
    probabilities = guide.weight_probabilities()
    names = [f"hidden.{k}.weight" for k in range(len(layers))]
    missing = [name for name in names if name not in probabilities]
    if missing:
        raise ValueError(
            f"{call}: the guide has no weights at {', '.join(missing)}; it has "
            f"{', '.join(probabilities)}. Give the guide that was made for this model."
        )
    means = [(2 * probabilities[name] - 1).to(x) for name in names]
    for layer, each in zip(layers, propagated(x, means, layers, noise), strict=True):
        layer.keep(each)


def mean_of_weights(weight: Tensor) -> Tensor:
    """The mean of the law that ±1 weights were drawn from; of given weights, themselves.

    Raises:
        ValueError: the weights are all states side by side, whose law is not known here.
    """
    mean = expectation(weight)
    if mean is not None:
        return mean.expand(weight.shape[-2:]) if mean.dim() < 2 else mean
    if weight.dim() > 2:
        raise ValueError(
            f"BinaryMLP(normalisation=...): weights of shape {tuple(weight.shape)} came without "
            "their law, as under TraceEnum_ELBO, and propagated statistics are of the law. Use "
            'TraceEstimator_ELBO("exact"), or model.eval() with kept statistics.'
        )
    return weight.detach()


def _refuse_states_of_all_rows(x: Tensor) -> None:
    """Raise if all rows stand for one: an enumeration lists the states of one row for all."""
    if x.shape[-2] > 1 and x.stride(-2) == 0:
        raise ValueError(
            'BinaryMLP(normalisation="recalibrated"): statistics of a layer above the first depend '
            "on the draws of all rows together, so that the states of each row cannot be listed on "
            'their own. Use "psa", or normalisation="analytic", whose statistics do not depend on '
            'draws, with TraceEstimator_ELBO("exact").'
        )
