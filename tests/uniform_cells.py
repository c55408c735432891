r"""Expectations over the uniforms that draws are made of, as finite sums.

Estimators that run the network again need the uniforms of what is downstream, and some need those
of the site itself; given values alone do not tell them.  On a tiny network everything such an
estimator computes is constant, or linear, while each uniform stays between two neighbouring
thresholds: the values that ``P(x = +1)`` of its variable takes over all states of its parents;
where a draw is paired with that of ``1 - u``, their mirror images; where further choices are made
of a uniform, what they depend on.  So an expectation over the unit cube of all uniforms is a sum
over its cells, each weighed by its volume.

What is not constant but smooth inside each cell (a relaxed draw, its slope) is integrated by
Gauss's rule with several nodes a cell and variable.
"""

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from pyro import poutine

import bayes_sbn as sbn
from tests.oracle_noise import cdf
from tests.oracles import Array, Layer, Net, sign_states
from tests.pyro_networks import PyroNetwork

MAX_CELLS = 400_000


def unit_thresholds(net: Net, layer: Layer, x: Array | None, j: int) -> Array:
    """P(+1) of unit j over all states of its ±1 weights, and of its inputs unless they are x."""
    inputs = sign_states(layer.shape[1]) if x is None else x[None]
    if layer.is_random:
        rows = sign_states(layer.shape[1])
    else:
        assert layer.weight is not None
        rows = layer.weight[j][None]
    a = layer.scale[j] * (rows[:, None] * inputs[None]).sum(-1) + layer.bias[j]
    return cdf(net.noise, a, net.noise_scale).reshape(-1)


Refine = Callable[[float, int], list[float]]
"""From P(+1) of a variable and its place among those of its event to further thresholds."""


def cells(
    thresholds: Array,
    is_mirrored: bool,
    refine: Refine | None = None,
    place: int = 0,
    nodes: int = 1,
) -> tuple[Array, Array]:
    """Gauss's nodes and weights in the intervals of [0, 1] between the thresholds.

    One node is the midpoint, whose weight is the length of the interval.
    """
    if refine is not None:
        further = [t for p in np.unique(thresholds) for t in refine(float(p), place)]
        thresholds = np.concatenate([thresholds, further])
    if is_mirrored:
        thresholds = np.concatenate([thresholds, 1 - thresholds])
    ends = np.unique(np.concatenate([[0.0, 1.0], thresholds.clip(0, 1)]))
    length = np.diff(ends)
    wide = length > 1e-12  # thresholds that differ by rounding alone
    node, weight = np.polynomial.legendre.leggauss(nodes)
    middle, length = (ends[:-1] + length / 2)[wide], length[wide]
    points = middle[:, None] + 0.5 * length[:, None] * node
    return points.reshape(-1), (0.5 * length[:, None] * weight).reshape(-1)


def all_uniforms(
    network: PyroNetwork,
    mirrored: Collection[str] = (),
    refined: Mapping[str, Refine] | None = None,
    nodes: int = 1,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Points of every cell, by site (P, ...), and the volumes that they stand for (P,)."""
    net, sites, refined = network.net, {}, dict(refined or {})
    below: Array | None = network.problem.x
    for name, layer in net.maps:
        if layer.weight_mean is not None:
            site = f"{name}.weight"
            p = (1 + layer.weight_mean.reshape(-1, 1)) / 2
            sites[site] = (
                layer.shape,
                [
                    cells(row, site in mirrored, refined.get(site), i, nodes)
                    for i, row in enumerate(p)
                ],
            )
        if name != "head":
            shape = (len(network.problem.x), layer.shape[0])
            variables = [
                cells(
                    unit_thresholds(net, layer, None if below is None else below[n], j),
                    name in mirrored,
                    refined.get(name),
                    j,
                    nodes,
                )
                for n, j in itertools.product(*map(range, shape))
            ]
            sites[name] = (shape, variables)
            below = None
    sizes = [len(length) for _, variables in sites.values() for _, length in variables]
    number = int(np.prod(sizes, dtype=np.int64))
    if number > MAX_CELLS:
        raise ValueError(f"{number} cells are more than {MAX_CELLS}; take a smaller network")
    index = iter(np.unravel_index(np.arange(number), sizes))
    volume: Array = np.ones(number)
    uniforms = {}
    for site, (shape, variables) in sites.items():
        columns = []
        for point, length in variables:
            which = next(index)
            columns.append(point[which])
            volume = volume * length[which]
        uniforms[site] = torch.tensor(np.stack(columns, -1).reshape(number, *shape))
    return uniforms, torch.tensor(volume)


def expected_gradient_over_uniforms(
    network: PyroNetwork,
    make_elbo: Callable[..., Any],
    mirrored: Collection[str] = (),
    refined: Mapping[str, Refine] | None = None,
    nodes: int = 1,
) -> tuple[float, dict[str, Array]]:
    """The expected loss and gradient of an ELBO over all uniforms, in one call.

    Args:
        network: whose parameters the gradient is of.
        make_elbo: makes the ELBO from ``num_particles`` and ``vectorize_particles``.
        mirrored: sites whose estimator also looks at the draw of ``1 - u``.
        refined: sites whose estimator makes more choices of a uniform, and by what thresholds.
        nodes: Gauss's nodes a cell and variable, for what is smooth inside the cells.
    """
    uniforms, volume = all_uniforms(network, mirrored, refined, nodes)
    number = len(volume)
    elbo = make_elbo(num_particles=number, vectorize_particles=True, max_plate_nesting=1)
    with poutine.scale(scale=(volume * number).unsqueeze(-1)), sbn.force_draws({}, uniforms):
        loss = elbo.loss_and_grads(network.model, network.guide, network.x, network.y)
    return float(loss), network.gradients()
