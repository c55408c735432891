r"""A fully connected network of ±1 weights and ±1 activations with a categorical head.

    x_0 = data,   x_k = sign(s_k * (W_k x_{k-1}) + b_k - Z_k),   y ~ Categorical(s * (W x_L) + b),

all W in {-1, +1}, ``Z_k`` noise of the chosen law.  The scale of the last layer is the learnable
scale of the logits, without which confidence is capped.  Layers named in ``real`` have real weights
instead (:mod:`bayes_sbn.models.real_layer`), which need no scale: most often the first, whose
inputs are real anyway, and the last.

Hidden layers may be normalised (:mod:`bayes_sbn.models.normalisation`); the logits never are: what
is normalised cannot be confident.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor

from bayes_sbn.affines import PreActivation
from bayes_sbn.distributions import AffineCategorical, NoisySign
from bayes_sbn.models.binary_layer import BinaryLinear
from bayes_sbn.models.mlp_arguments import check_normalisation, check_sizes, real_layers
from bayes_sbn.models.normalisation import (
    EPS,
    RECALIBRATED,
    NormalisedLinear,
    calibrate_layers,
    is_complete,
    no_statistics,
    statistics_of_run,
)
from bayes_sbn.models.real_layer import RealLinear
from bayes_sbn.models.weight_priors import prior_of, set_priors, sign_layers
from bayes_sbn.noise import Noise, get_noise
from bayes_sbn.signs_of_data import tagged_if_signs

INT16_HEADROOM = 4.0
"""How far beyond the largest training input the 16-bit grid of the inputs reaches."""


class BinaryMLP(PyroModule):
    """Fully connected network with ±1 weights and activations, and class labels.

    Args:
        in_features: number of inputs; centre them and scale them to about unit size.  Rows that
            are exactly ±1 are recognised (:func:`bayes_sbn.as_signs`).
        hidden: numbers of units of the hidden layers.
        num_classes: number of classes.
        num_data: number of training rows, by which mini-batches scale the likelihood.
        noise: law of the activations' noise, by name or as an object.
        prior_logit: log-odds of +1 of every ±1 weight in the prior.
        real: names of layers with real weights: ``"first"``, ``"last"``, or as in
            ``"hidden.1"`` and ``"output"``; at least one layer keeps its ±1 weights.  Such a
            network needs a guide that infers both, :class:`bayes_sbn.guides.AutoHybrid`.
        real_prior_scale: standard deviation of the real weights in the prior; by default
            1 / sqrt(inputs) of each layer.
        normalisation: of the hidden layers, by statistics that are propagated from the laws of the
            weights for each batch (``"analytic"``) or once (``"frozen"``), or measured anew for
            each draw of the weights (``"recalibrated"``); None for none.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(64, [256, 256], 10, num_data=1437)
        >>> labels = model(torch.randn(5, 64))  # a draw from the prior predictive
    """

    input_range: Tensor

    _target = "label"

    running_maxima = ("input_range",)
    """Buffers that are the largest values so far, for processes that see different rows."""

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        num_classes: int,
        *,
        num_data: int | None = None,
        noise: str | Noise = "logistic",
        prior_logit: float = 0.0,
        real: Collection[str] = (),
        real_prior_scale: float | None = None,
        normalisation: str | None = None,
    ) -> None:
        if num_data is None:
            raise ValueError(
                "BinaryMLP(num_data=...) is missing: the number of training rows, by which "
                "mini-batches scale the likelihood against the KL. Write num_data=len(x)."
            )
        check_sizes(in_features, hidden, num_classes, num_data)
        self._check_outputs(num_classes)
        sizes = [in_features, *hidden, num_classes]
        names = [*(f"hidden.{k}" for k in range(len(hidden))), "output"]
        with_real = real_layers(real, names)
        check_normalisation(normalisation, with_real)

        def layer(name: str, inputs: int, units: int) -> BinaryLinear | RealLinear:
            if name in with_real:
                return RealLinear(inputs, units, prior_scale=real_prior_scale)
            if normalisation is not None and name != "output":
                return NormalisedLinear(
                    inputs, units, normalisation=normalisation, prior_logit=prior_logit
                )
            return BinaryLinear(inputs, units, prior_logit=prior_logit)

        with pyro.settings.context(module_local_params=True):
            super().__init__()
            layers = [layer(n, *ends) for n, ends in zip(names, pairwise(sizes), strict=True)]
            self.hidden = PyroModule[torch.nn.ModuleList](layers[:-1])
            self.output = layers[-1]
        self.in_features = in_features
        self.num_classes = num_classes
        self.num_data = num_data
        self.noise = get_noise(noise)
        self.normalisation = normalisation
        self.register_buffer("input_range", torch.zeros(()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; its parameters are its own, whatever else lives in the process."""
        context = self._pyro_context
        if not (context.active or hasattr(context, "param_state")):
            return super().__call__(*args, **kwargs)  # part of a module with shared parameters
        with pyro.settings.context(module_local_params=True):
            return super().__call__(*args, **kwargs)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Sample the labels of the rows of x, or score the labels y.

        Args:
            x: inputs, (rows, in_features).
            y: integer labels, (rows,), or None.
        """
        x = tagged_if_signs(x, self._check(x, y))  # ±1 inputs make the first layer's flips exact
        for layer in [*self.hidden, self.output]:
            _ = layer.weight  # weights are drawn before the plate: the rows share them
        size = len(x) if y is None else self.num_data
        statistics = statistics_of_run(
            self.normalisation,
            self.hidden,
            self.noise,
            x,
            is_training=self.training,
            is_step=y is not None and torch.is_grad_enabled(),
        )
        with pyro.plate("data", size, subsample=x, dim=-1):
            for k, layer in enumerate(self.hidden):
                pre = layer(x) if statistics is None else layer(x, statistics[k])
                x = pyro.sample(f"x{k + 1}", NoisySign(pre, noise=self.noise))
            return self._observe(self.output(x), y)

    def _observe(self, pre: PreActivation, y: Tensor | None) -> Tensor:
        """Sample the targets of the rows, or score them, inside the plate."""
        labels: Tensor = pyro.sample("y", AffineCategorical(pre), obs=y)
        return labels

    def _check_outputs(self, number: int) -> None:
        """Raise if the last layer may not have so many units."""
        if number < 2:
            raise ValueError(f"BinaryMLP(num_classes={number}): at least 2 classes.")

    def calibrate(self, guide: Any, x: Tensor) -> None:
        """Give normalised layers the statistics that the posterior has on these rows.

        By propagation from the laws of the weights, without a draw.  Of ``"frozen"`` layers they
        are the constants from now on; of ``"analytic"`` ones what :meth:`architecture` and eval
        mode use, in place of running averages over the batches of the fit.

        Args:
            guide: a guide of this model that states its ``weight_probabilities()``.
            x: rows, of the training data, (rows, in_features).
        """
        self._check(x, None)
        calibrate_layers(self.normalisation, self.hidden, self.noise, guide, x)

    def set_prior(self, probabilities: Mapping[str, Tensor | float]) -> None:
        """Give ±1 weights other priors, such as the posterior of earlier data.

        Args:
            probabilities: ``P(w = +1)`` by weight site, one number or one for each weight; sites
                that are not named keep theirs.  ``guide.weight_probabilities()`` is such a dict.

        Example:
            >>> import bayes_sbn as sbn
            >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=100)
            >>> guide = sbn.guides.AutoSignBernoulli(model)
            >>> model.set_prior(guide.weight_probabilities())
        """
        set_priors(f"{type(self).__name__}.set_prior", sign_layers(self), probabilities)

    def prior_probabilities(self) -> dict[str, Tensor]:
        """The prior ``P(w = +1)`` of each ±1 weight by site, in float64 on the CPU."""
        return {site: prior_of(layer) for site, layer in sign_layers(self).items()}

    def _check(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Raise if the data do not fit; returns the largest absolute input."""
        name = type(self).__name__
        call = f"{name}(x, y)"
        if not isinstance(x, Tensor) or not x.is_floating_point():
            came = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(
                f"{call}: x is {came}; it must be a floating point tensor. Write "
                "torch.as_tensor(x, dtype=torch.get_default_dtype())."
            )
        wanted = self.output.bias.dtype
        if x.dtype != wanted:
            raise TypeError(
                f"{call}: x is {x.dtype} but the model's parameters are {wanted}. Write "
                f"x.to({wanted}), or convert the model with model.to({x.dtype})."
            )
        if x.dim() != 2 or x.shape[1] != self.in_features:
            raise ValueError(
                f"{call}: x has shape {tuple(x.shape)}; it must be (rows, {self.in_features}). "
                f"Write x.reshape(-1, {self.in_features}), or build the model for another width."
            )
        largest = x.detach().abs().amax() if len(x) else self.input_range
        if not math.isfinite(largest):
            row = int((~torch.isfinite(x)).any(1).nonzero()[0])
            raise ValueError(
                f"{call}: x has NaN or infinite values, first in row {row}. Drop such rows, or "
                "fill them in."
            )
        if y is None:
            return largest
        if not isinstance(y, Tensor) or y.shape != x.shape[:1]:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"{call}: y is {got}; it must be a tensor of one {self._target} per row, shape "
                f"({len(x)},)."
            )
        self._check_target(y)
        if len(x) > self.num_data:
            raise ValueError(
                f"{call}: {len(x)} rows with labels, but the model was built with num_data="
                f"{self.num_data}. Write {name}(..., num_data={len(x)})."
            )
        self.input_range = torch.maximum(self.input_range, largest)
        return largest

    def _check_target(self, y: Tensor) -> None:
        """Raise if targets of the right shape are not allowed; the likelihood checks labels."""

    def example(self) -> tuple[Tensor, Tensor]:
        """The arguments of one step on few rows, for what needs no more than their shapes."""
        like = self.output.bias
        rows = 2 if self.normalisation == RECALIBRATED else 1  # one row has no variance
        x = torch.zeros(rows, self.in_features, dtype=like.dtype, device=like.device)
        return x, torch.zeros(rows, dtype=torch.long, device=like.device)

    def architecture(self) -> dict[str, Any]:
        """The network as plain numbers, from which a :class:`bayes_sbn.Posterior` is made."""
        if not is_complete(self.normalisation, self.hidden):
            raise RuntimeError(
                no_statistics(f"{type(self).__name__}.architecture()", self.normalisation)
            )
        layers = []
        for name, layer in [
            *((f"hidden.{k}", m) for k, m in enumerate(self.hidden)),
            ("output", self.output),
        ]:
            noisy = name != "output"
            scale, bias = layer.scale, layer.bias
            if isinstance(layer, NormalisedLinear):
                scale, bias = layer.folded()
            entry: dict[str, Any] = {
                "name": name,
                "weight_site": f"{name}.weight",
                "scale": scale.detach().clone(),
                "bias": bias.detach().clone(),
                "noise": self.noise.name if noisy else None,
                "noise_scale": self.noise.scale if noisy else 1.0,
            }
            if isinstance(layer, NormalisedLinear) and layer.normalisation == RECALIBRATED:
                entry["normalisation_eps"] = EPS
            layers.append(entry)
        return {
            **self._likelihood(),
            "input_scale": _grid_step(float(self.input_range)),
            "layers": layers,
        }

    def _likelihood(self) -> dict[str, Any]:
        """What the architecture says of the law of a target."""
        return {"likelihood": "categorical"}


def _grid_step(largest: float) -> float:
    """The size of a 16-bit step, a power of two, that covers the inputs with headroom."""
    reach = INT16_HEADROOM * (largest if largest > 0 else 1.0)
    return 2.0 ** math.ceil(math.log2(reach / 32767))
