"""Which sites a model has, and what of a network each of them is: learned from one run of it.

The run is on two rows of ones and leaves no trace: neither the model's buffers nor torch's
generators nor the handlers around it notice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from bayes_sbn.distributions import AffineCategorical, NoisySign

WEIGHTS, ACTIVATIONS, LABELS = "weights", "activations", "labels"

RETURN = "_RETURN"
"""Pyro's name for what a model returns."""

NUM_ROWS = 2
"""Of the rows of a run; one row would have no variance."""


@dataclass(frozen=True)
class PredictedSite:
    """A site of a model.

    Args:
        name: of the site.
        role: what it is of a network: weights, activations or labels.
        layer: index of the layer.
        num_ones: axes of size 1 that ``pyro.infer.Predictive`` puts between the draws and a value.
        dtype: of its values.
        device: of its values.
    """

    name: str
    role: str
    layer: int
    num_ones: int
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True)
class PredictedSites:
    """The sites of a model, in the order of a run.

    Args:
        by_name: each of them.
        labels: the one of the labels.
        returns_labels: whether the model returns the labels.
    """

    by_name: dict[str, PredictedSite]
    labels: PredictedSite
    returns_labels: bool


def quiet_runs(model: Callable[..., Any], *batches: Tensor) -> list[Any]:
    """The traces of runs, which neither generators nor handlers around them notice."""
    kind = batches[0].device.type
    devices = [] if kind == "cpu" else [batches[0].device]
    kind = "cuda" if kind == "cpu" else kind
    with torch.random.fork_rng(devices, device_type=kind), torch.no_grad(), poutine.block():
        return [prune_subsample_sites(poutine.trace(model).get_trace(rows)) for rows in batches]


def sites_of_network(
    model: Callable[..., Any],
    weight_sites: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    x: Tensor,
) -> PredictedSites:
    """The sites of a model of dense layers with labels.

    Args:
        model: the model.
        weight_sites: names of its weights, from the inputs to the logits.
        sizes: units and inputs of its layers.
        x: rows like those that it will be given, of which dtype, device and width are used.

    Raises:
        ValueError: it has a site that is nothing of such a network.
    """
    [trace] = quiet_runs(model, x.new_ones((NUM_ROWS, *x.shape[1:])))
    nodes = {name: node for name, node in trace.nodes.items() if node["type"] == "sample"}
    frames = [frame for node in nodes.values() for frame in node["cond_indep_stack"]]
    nesting = -min((frame.dim for frame in frames if frame.vectorized), default=0)
    found: dict[str, PredictedSite] = {}
    num_hidden = 0
    last = len(sizes) - 1
    for name, node in nodes.items():
        law, value = node["fn"], node["value"]
        if name in weight_sites:
            role, layer = WEIGHTS, weight_sites.index(name)
            shape: tuple[int, ...] = sizes[layer]
        elif isinstance(law, NoisySign) and num_hidden < last:
            role, layer = ACTIVATIONS, num_hidden
            shape = (NUM_ROWS, sizes[layer][0])
            num_hidden += 1
        elif isinstance(law, AffineCategorical) and num_hidden == last:
            role, layer, shape = LABELS, last, (NUM_ROWS,)
        else:
            raise not_covered(name, f"of law {type(law).__name__}")
        if value.shape != shape:
            raise not_covered(name, f"with values of shape {tuple(value.shape)} for {shape}")
        num_ones = nesting - len(law.batch_shape)
        found[name] = PredictedSite(name, role, layer, num_ones, value.dtype, value.device)
    labels = [site for site in found.values() if site.role == LABELS]
    if len(labels) != 1:
        raise not_covered(", ".join(nodes), f"of which {len(labels)} are class labels")
    returned = trace.nodes[RETURN]["value"]
    return PredictedSites(found, labels[0], returned is nodes[labels[0].name]["value"])


def not_covered(name: str, what: str) -> ValueError:
    """The error for a site that is nothing of a packed network."""
    return ValueError(
        f'PackedPredictive(model, guide): the model samples "{name}", {what}, and packed networks '
        "are dense layers of ±1 or real weights, with ±1 activations between them and class labels "
        "at the end. Write pyro.infer.Predictive(model, guide=guide, "
        "num_samples=...), which runs the model for each draw."
    )
