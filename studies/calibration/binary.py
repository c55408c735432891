r"""Posteriors over networks of ±1 weights and activations, by the names of ``bayes_sbn``.

:func:`alone` is what one does with one data set: a ``BinaryRegressor`` or ``BinaryMLP``, a guide
and ``sbn.fit``.  :func:`side_by_side` fits many such networks in one Pyro model, which takes a
quarter of the time: the loss is the sum of theirs, mirror descent and Adam step coordinate by
coordinate, and what they have learned is put back into the networks.  Its estimator is
straight-through.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.nn import PyroModule, PyroParam
from torch import Tensor

import bayes_sbn as sbn
from studies.calibration.data import Scaling
from studies.calibration.tasks import Effort, Predicted, Task

Pair = tuple[Any, Any]
"""A network and its guide."""


class Standardised:
    """What a task learns, in units of its standard deviations."""

    def __init__(self, task: Task) -> None:
        self.scaling = Scaling.of(task.learn, real=not task.classes)
        self.x = torch.tensor(self.scaling.inputs(task.learn.x), dtype=torch.float32)
        self.y = torch.tensor(task.learn.y)
        if not task.classes:
            targets = self.scaling.targets(task.learn.y)
            self.y = torch.tensor(targets, dtype=torch.float32)


def network(task: Task, inputs: int, *, real: tuple[str, ...] = ()) -> Pair:
    """A network as it starts: the package's defaults, of the widths that the setting says."""
    torch.manual_seed(task.seed)
    hidden = [int(task.options["width"])] * int(task.options["layers"])
    options: dict[str, Any] = {"num_data": len(task.learn), "real": real}
    if task.classes:
        model: Any = sbn.models.BinaryMLP(inputs, hidden, task.classes, **options)
    else:
        model = sbn.models.BinaryRegressor(inputs, hidden, **options)
    guide = (sbn.guides.AutoHybrid if real else sbn.guides.AutoSignBernoulli)(model)
    return model, guide


def settings(task: Task, pair: Pair, data: Standardised, effort: Effort) -> dict[str, Any]:
    """The arguments of a fit: a share of the rule's temperature, step sizes, epochs."""
    rule = sbn.temperature_rule(*pair, data.x[:1], data.y[:1])
    rows = len(task.learn)
    rates = {"lr": task.options["lr"], "real": ("Adam", {"lr": task.options["real_lr"]})}
    return {
        "temperature": min(1.0, task.options["factor"] * rule),
        "optim": sbn.optim.MirrorDescent(rates),
        "epochs": math.ceil(effort.steps / math.ceil(rows / min(effort.batch_size, rows))),
        "progress": False,
    }


def predicted(
    task: Task, pair: Pair, data: Standardised, effort: Effort, temperature: float
) -> Predicted:
    """What an ensemble of draws says of the rows of a task, in the units of the target."""
    x = data.scaling.inputs(task.x)
    reach = 1.01 * float(max(np.abs(x).max(), data.x.abs().max()))  # of the 16-bit grid alone
    posterior = sbn.Posterior.from_guide(*pair, temperature=temperature, input_range=reach)
    pred = posterior.draw(effort.draws, seed=task.seed).predict(x, progress=False)
    if task.classes:
        return pred
    return pred.rescaled(data.scaling.y_deviation, data.scaling.y_mean)


def real_first(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """Networks whose first layer has real weights, one after another."""
    return [alone(task, effort, real=("first",)) for task in tasks]


def alone(task: Task, effort: Effort, *, real: tuple[str, ...] = ()) -> Predicted:
    """One network, by ``sbn.fit``."""
    data = Standardised(task)
    pair = network(task, data.x.shape[1], real=real)
    fit = sbn.fit(
        *pair,
        (data.x, data.y),
        batch_size=min(effort.batch_size, len(data.x)),
        **settings(task, pair, data, effort),
    )
    return predicted(task, pair, data, effort, fit.temperature)


def side_by_side(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """Fully binary networks; those with the same setting are fitted in one model."""
    found: dict[int, Predicted] = {}
    for options in {str(task.options): task.options for task in tasks}.values():
        places = [place for place, task in enumerate(tasks) if task.options == options]
        own = [tasks[place] for place in places]
        data = [Standardised(task) for task in own]
        pairs = [network(task, d.x.shape[1]) for task, d in zip(own, data, strict=True)]
        model = SideBySide(pairs)
        batches = Batches(data, effort.batch_size, own[0].seed)
        x, y = next(iter(batches))
        guide = sbn.guides.AutoSignBernoulli(model, example=(x[:2], y[:2]))
        model.begin(guide)
        arguments = settings(own[0], pairs[0], data[0], effort)
        fit = sbn.fit(model, guide, batches, estimator="st", **arguments)
        model.put_back(guide)
        for place, task, pair, d in zip(places, own, pairs, data, strict=True):
            found[place] = predicted(task, pair, d, effort, fit.temperature)
    return [found[place] for place in range(len(tasks))]


class Batches:
    """Batches (rows, networks, ...) of as many sets of rows, each in an order of its own.

    Args:
        sets: standardised rows of each network.
        batch_size: rows of a batch.
        seed: of the orders.
    """

    def __init__(self, sets: Sequence[Standardised], batch_size: int, seed: int) -> None:
        self.x = torch.stack([each.x for each in sets], 1)
        self.y = torch.stack([each.y for each in sets], 1)
        self.size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.rand(self.y.shape, generator=self.generator).argsort(0)
        networks = torch.arange(self.y.shape[1])
        for rows in order.split(self.size):
            yield self.x[rows, networks], self.y[rows, networks]


class SideBySide(PyroModule):
    """Networks of one size in one model; weights are (networks, units, inputs).

    Args:
        pairs: the networks and their guides, where the start comes from.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__()
            self.pairs = list(pairs)
            first = pairs[0][0]
            self.num_data, self.number = first.num_data, len(pairs)
            self.has_sigma = isinstance(first, sbn.models.BinaryRegressor)
            self.shapes = [(o.out_features, o.in_features) for o in self._layers(first)]
            for k in range(len(self.shapes)):
                own = [self._layers(model)[k] for model, _ in pairs]
                scale = torch.stack([layer.scale.detach() for layer in own])[:, None]
                bias = torch.stack([layer.bias.detach() for layer in own])[:, None]
                setattr(self, f"scale{k}", PyroParam(scale, constraints.positive))
                setattr(self, f"bias{k}", PyroParam(bias))
            if self.has_sigma:
                sigma = torch.stack([model.sigma.detach() for model, _ in pairs])[:, None]
                self.sigma = PyroParam(sigma, constraints.positive)

    @staticmethod
    def _layers(model: Any) -> list[Any]:
        return [*model.hidden, model.output]

    def _leaves(self, guide: Any) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """The leaf of each layer here, and those of the networks."""
        names = [*(f"hidden.{k}.weight" for k in range(len(self.shapes) - 1)), "output.weight"]
        for k, name in enumerate(names):
            yield guide.leaf(f"w{k}"), [own.leaf(name) for _, own in self.pairs]

    @torch.no_grad()
    def begin(self, guide: Any) -> None:
        """The guide of all starts where those of the networks do."""
        for leaf, own in self._leaves(guide):
            leaf.copy_(torch.stack(own))

    @torch.no_grad()
    def put_back(self, guide: Any) -> None:
        """What was learned, into the networks and their guides."""
        for leaf, own in self._leaves(guide):
            for m, each in enumerate(own):
                each.copy_(leaf[m])
        with pyro.settings.context(module_local_params=True):
            for m, (model, _) in enumerate(self.pairs):
                for k, layer in enumerate(self._layers(model)):
                    layer.scale = getattr(self, f"scale{k}")[m, 0].detach().clone()
                    layer.bias = getattr(self, f"bias{k}")[m, 0].detach().clone()
                if self.has_sigma:
                    model.sigma = self.sigma[m, 0].detach().clone()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; its parameters are its own."""
        with pyro.settings.context(module_local_params=True):
            return super().__call__(*args, **kwargs)

    def forward(self, x: Tensor, y: Tensor) -> None:
        """Score targets (rows, networks) of inputs (rows, networks, inputs)."""
        weights = [
            pyro.sample(
                f"w{k}", sbn.SignBernoulli(logits=torch.zeros(self.number, *shape)).to_event(3)
            )
            for k, shape in enumerate(self.shapes)
        ]
        h, last = x.transpose(0, 1), len(self.shapes) - 1
        with (
            pyro.plate("networks", self.number, dim=-2),
            pyro.plate("data", self.num_data, subsample=x[:, 0], dim=-1),
        ):
            for k, weight in enumerate(weights):
                product = torch.bmm(h, weight.mT)
                a = getattr(self, f"scale{k}") * product + getattr(self, f"bias{k}")
                if k < last:
                    h = pyro.sample(f"x{k + 1}", sbn.NoisySign(sbn.identity(a)))
            law = (
                dist.Normal(a[..., 0], self.sigma) if self.has_sigma else dist.Categorical(logits=a)
            )
            pyro.sample("y", law, obs=y.T)
