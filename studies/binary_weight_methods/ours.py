r"""A mean-field Bernoulli posterior over the ±1 weights, in Pyro, by the names of ``bayes_sbn``.

With real activations many networks stand side by side in one model of this study, as in
:mod:`studies.binary_weight_methods.networks`: the loss is the sum of theirs, and mirror descent
steps coordinate by coordinate.  The estimator is straight-through, for the weights alone.

With ±1 activations,

    h_k = sign(s_k * (W_k h_{k-1}) + b_k - Z_k),    Z_k logistic,

a network is a :class:`bayes_sbn.models.BinaryMLP`, and the estimator path sample-analytic.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor

import bayes_sbn as sbn
from studies.binary_weight_methods.data import Batches, Flat, Problem, Rows
from studies.binary_weight_methods.networks import (
    HIDDEN,
    Head,
    forward,
    shapes,
    signs,
)
from studies.binary_weight_methods.predictions import Pair, pooled, predicted
from studies.binary_weight_methods.rivals import REAL_RATE

DRAWS = 32


class SideBySide(PyroModule):
    """ReLU networks after batch norm without parameters.

    Args:
        networks: number of them; weights are (networks, units, inputs).
        layers: (units, inputs) of each layer.
        num_data: training rows of each.
    """

    def __init__(self, networks: int, layers: Sequence[tuple[int, int]], num_data: int) -> None:
        super().__init__()
        self.networks, self.layers, self.num_data = networks, list(layers), num_data
        start = Head.start(networks, layers, "relu")
        self.log_scale = PyroParam(start.log_scale)
        self.bias = PyroParam(start.bias)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; its parameters are its own."""
        with pyro.settings.context(module_local_params=True):
            return super().__call__(*args, **kwargs)

    def head(self) -> Head:
        """What is real."""
        return Head(self.log_scale, self.bias)

    def forward(self, x: Tensor, y: Tensor) -> None:
        """Score labels (rows, networks) of inputs (rows, networks, inputs)."""
        weights = [
            pyro.sample(
                f"w{k}", sbn.SignBernoulli(logits=torch.zeros(self.networks, *shape)).to_event(3)
            )
            for k, shape in enumerate(self.layers, 1)
        ]
        logits = forward(x.transpose(0, 1), weights, self.head())
        with (
            pyro.plate("networks", self.networks, dim=-2),
            pyro.plate("data", self.num_data, subsample=x[:, 0], dim=-1),
        ):
            pyro.sample("y", dist.Categorical(logits=logits), obs=y.T)


def rule_of_temperature(num_data: int, classes: int, layers: Sequence[tuple[int, int]]) -> float:
    """``N log C / (K log 2)``: what the data can pay, over what the prior asks."""
    weights = sum(units * size for units, size in layers)
    return num_data * math.log(classes) / (weights * math.log(2))


def fitted(
    model: Any, guide: Any, batches: Any, problem: Problem, estimator: str, options: dict[str, Any]
) -> None:
    """By mirror descent of step ``lr``, at the rule's temperature over ``cold``."""
    rows = problem.num_rows
    layers = shapes(problem.inputs, problem.classes)
    temperature = rule_of_temperature(rows, problem.classes, layers) / options["cold"]
    sbn.fit(
        model,
        guide,
        batches,
        elbo=sbn.TraceEstimator_ELBO(estimator, temperature=temperature),
        optim=sbn.optim.MirrorDescent({"lr": options["lr"], "real": ("Adam", {"lr": REAL_RATE})}),
        epochs=problem.epochs,
        progress=False,
    )


Found = dict[str, list[Pair]]
"""Predictions for each split, by predictor."""


def relu(
    problem: Problem, options: dict[str, Any], seed: int, sizes: Sequence[int] = (DRAWS,)
) -> tuple[Found, list[float]]:
    """Predictions for each split, by ensembles of these sizes too, and bits of entropy a weight."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    networks = len(problem.splits)
    with pyro.settings.context(module_local_params=True):
        model = SideBySide(networks, shapes(problem.inputs, problem.classes), problem.num_rows)
    batches = Batches(problem, 1, generator)
    x, y = next(iter(batches))
    guide = sbn.guides.AutoSignBernoulli(
        model, example=(x[:1], y[:1]), init_scale=options["spread"]
    )
    fitted(model, guide, batches, problem, "st", options)
    probabilities = [p.float() for p in guide.weight_probabilities().values()]
    with torch.no_grad(), pyro.settings.context(module_local_params=True):
        head = model.head()
        draws = [
            [signs(torch.rand(p.shape, generator=generator) < p) for p in probabilities]
            for _ in range(max(sizes))
        ]
        each = [predicted(problem, weights, head) for weights in draws]
        mode = predicted(problem, [signs(p >= 0.5) for p in probabilities], head)
    found = {"draw": each[0], "mode": mode}
    for size in sizes:
        found[f"ensemble of {size}"] = [pooled(own) for own in zip(*each[:size], strict=True)]
    entropy = sum(
        torch.special.entr(p).flatten(1).sum(1) + torch.special.entr(1 - p).flatten(1).sum(1)
        for p in map(Tensor.double, probabilities)
    )
    number = sum(p[0].numel() for p in probabilities)
    return found, (entropy / (number * math.log(2))).tolist()


def log_mean(ensemble: sbn.Ensemble, rows: Rows) -> Tensor:
    """Log of the mean probabilities."""
    return torch.tensor(np.log(ensemble.predict(rows.x, progress=False).mean))


def sign(
    problem: Problem, options: dict[str, Any], seed: int, sizes: Sequence[int] = (DRAWS,)
) -> tuple[Found, list[float]]:
    """The same for ±1 activations, one network after another."""
    found: Found = {}
    bits = []
    for number, split in zip(problem.seeds, problem.splits, strict=True):
        own = seed + number
        torch.manual_seed(own)
        alone = replace(problem, splits=(split,))
        model = sbn.models.BinaryMLP(alone.inputs, HIDDEN, alone.classes, num_data=alone.num_rows)
        guide = sbn.guides.AutoSignBernoulli(model, init_scale=options["spread"])
        batches = Flat(Batches(alone, 1, torch.Generator().manual_seed(own)))
        fitted(model, guide, batches, alone, "psa", options)
        posterior = sbn.Posterior.from_guide(model, guide)
        bits.append(posterior.bits_per_weight)
        for name, ensemble in {
            "draw": posterior.draw(1, seed=own),
            "mode": posterior.mode().draw(max(sizes), seed=own),
            **{f"ensemble of {size}": posterior.draw(size, seed=own) for size in sizes},
        }.items():
            pair = log_mean(ensemble, split.validation), log_mean(ensemble, split.test)
            found.setdefault(name, []).append(pair)
    return found, bits
