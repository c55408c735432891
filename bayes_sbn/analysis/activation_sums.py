r"""The likelihood of every state of few weights, with the ±1 activations summed out exactly.

With z_l the states of the units of layer l and given weights w, the activations are a Markov chain

.. math::
    p(z_1 | x, w) = \prod_j F(\pm a_j(x)), \qquad
    p(z_{l+1} | x, w) = \sum_{z_l} p(z_l | x, w) \prod_j F(\pm a_j(z_l)),

so that a row costs the number of pairs of states of neighbouring layers, not of states of all
layers together.  Two numbers are made of the states of the last activations: what Bayes' rule asks
for, and the bound that the package's ELBOs train,

.. math::
    \log p(y | x, w) = \log \sum_z p(z | x, w)\, p(y | z, w) \;\ge\;
    \sum_z p(z | x, w) \log p(y | z, w) .

The weights before the last layer and those of the last layer enter separately, so that for all
pairs of their states the sums are one matrix product a row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.small_network import Float64, Int8, SmallNetwork, signs_of
from bayes_sbn.metrics.arguments import check_labels
from bayes_sbn.metrics.regression_arguments import check_targets

if TYPE_CHECKING:
    from bayes_sbn.noise import Noise

TARGETS = ("bayes", "trained")
"""``log p(y | w)`` with the activations summed out, or the bound on it that is trained."""

_BLOCK = 2**20  # entries of the largest array at a time, 8 MB
_SMALLEST_SUM = 1e-290  # what underflows in a sum is less than 1e-308 of what it could be
_LEAST_LOG = -1e300  # in place of -inf, so that what never occurs costs nothing


@dataclass(frozen=True, eq=False)
class Block:
    """Some states of the weights, some rows, and what the states say of the rows.

    Args:
        before: which states of the weights before the last layer.
        last: which states of the weights of the last layer.
        rows: which rows.
        log_mass: log probability of the last activations, (before, rows, activations).
        values: what the last layer makes of them, (last, rows or 1, activations, units).
    """

    before: slice
    last: slice
    rows: slice
    log_mass: Float64
    values: Float64

    @property
    def states(self) -> tuple[slice, slice]:
        """The place of the states in an array (states of the last layer, states before it)."""
        return self.last, self.before


def by_layers(network: SmallNetwork, states: Float64) -> Float64:
    """Numbers of all states as an array (states of the last layer, states before it)."""
    return states.reshape(2 ** network.layers[-1].num_weights, -1)


def targets(call: str, network: SmallNetwork, y: npt.ArrayLike, num_rows: int) -> npt.NDArray[Any]:
    """Labels or real targets, one a row, checked."""
    if network.likelihood == "categorical":
        return check_labels(call, y, num_rows, network.num_outputs)
    return check_targets(call, y, num_rows)


def blocks(network: SmallNetwork, x: Float64) -> Iterator[Block]:
    """All states and rows, some at a time, the rows innermost but for the last layer's states.

    Args:
        network: the network.
        x: rows, (rows, inputs).
    """
    *hidden, head = network.layers
    widths = [layer.shape[0] for layer in hidden]
    activations = 2 ** max(widths, default=0)
    pairs = max((2 ** (a + b) for a, b in itertools.pairwise(widths)), default=1)
    num_last = 2**head.num_weights
    num_before = 2 ** (network.num_weights - head.num_weights)
    # arrays of a block: (before, rows, activations), (last, rows, activations, units) and
    # (before, rows, last)
    outputs = activations * head.shape[0]
    rows = max(1, min(len(x), _BLOCK // (64 * outputs)))
    last = max(1, min(num_last, _BLOCK // (rows * outputs)))
    before = max(1, min(num_before, _BLOCK // max(rows * max(activations, last), pairs)))
    for first in _slices(num_before, before):
        for some in _slices(len(x), rows):
            log_mass, seen = _last_activations(network, first, x[some])
            for second in _slices(num_last, last):
                yield Block(first, second, some, log_mass, _values(network, second, seen))


def log_likelihoods(
    network: SmallNetwork, block: Block, y: npt.NDArray[Any], target: str
) -> Float64:
    """Log-likelihood of each row in each state, (before, rows, last).

    Args:
        network: the network.
        block: states and rows.
        y: the targets of those rows.
        target: ``"bayes"`` or ``"trained"``.
    """
    log_p = _log_head(network, block.values, y)  # (last, rows, activations)
    if target == "trained":
        return _products(np.exp(block.log_mass), np.maximum(log_p, _LEAST_LOG))
    top = np.maximum(log_p.max(-1), _LEAST_LOG)
    sums = _products(np.exp(block.log_mass), np.exp(log_p - top[..., None]))
    with np.errstate(divide="ignore"):
        found: Float64 = np.log(sums) + top.T[None]
    for at in _parts_of(np.argwhere(sums < _SMALLEST_SUM), block.log_mass.shape[-1]):
        before, row, last = at.T  # sums of what underflows are added as logarithms
        found[before, row, last] = np.logaddexp.reduce(
            block.log_mass[before, row] + log_p[last, row], axis=-1
        )
    return found


def class_probs(block: Block) -> Float64:
    """Of a categorical likelihood for each state of the activations; the shape of ``values``."""
    return np.exp(_log_softmax(block.values))


def _slices(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def _parts_of(places: npt.NDArray[np.int64], width: int) -> Iterator[npt.NDArray[np.int64]]:
    for part in _slices(len(places), max(1, _BLOCK // width)):
        yield places[part]


def _products(before: Float64, last: Float64) -> Float64:
    """``sum_z before[p, r, z] last[l, r, z]``, (p, r, l)."""
    each = np.moveaxis(before, 1, 0) @ np.moveaxis(last, 1, 0).swapaxes(-1, -2)
    return np.asarray(np.moveaxis(each, 0, 1))


def _last_activations(network: SmallNetwork, before: slice, x: Float64) -> tuple[Float64, Float64]:
    """Carry the states of the activations from the inputs to the last hidden layer.

    Returns:
        Their log probabilities (before, rows, activations), and what the last layer sees,
        (1, rows or 1, activations, units).
    """
    numbers = np.arange(before.start, before.stop)
    log_mass = np.zeros((len(numbers), len(x), 1))
    seen = x[None, :, None, :]
    for layer in network.layers[:-1]:
        own, place = np.unique(numbers % 2**layer.num_weights, return_inverse=True)
        numbers = numbers >> layer.num_weights
        a = layer.pre_activations(own, seen)
        assert layer.noise is not None
        units = signs_of(np.arange(2 ** layer.shape[0]), layer.shape[0])
        log_step = _log_joint(layer.noise, a, units)  # (own, rows or 1, before, after)
        log_mass = _log_sum(log_mass, log_step, place.ravel())
        seen = units[None, None].astype(np.float64)
    return log_mass, seen


def _values(network: SmallNetwork, last: slice, seen: Float64) -> Float64:
    return network.layers[-1].pre_activations(np.arange(last.start, last.stop), seen)


def _log_head(network: SmallNetwork, values: Float64, y: npt.NDArray[Any]) -> Float64:
    """Log-likelihood of rows given the last activations, (last, rows, activations)."""
    if network.likelihood == "categorical":
        logits = _log_softmax(values)
        if logits.shape[1] == 1:  # the same for all rows
            return np.moveaxis(logits[:, 0][..., y], -1, 1)
        index = np.broadcast_to(y[None, :, None, None], (*logits.shape[:3], 1))
        return np.take_along_axis(logits, index, axis=-1)[..., 0]
    assert network.sigma is not None
    gap = (y[None, :, None] - values[..., 0]) / network.sigma
    return -0.5 * gap**2 - math.log(network.sigma) - 0.5 * math.log(2 * math.pi)


def _log_joint(noise: Noise, a: Float64, units: Int8) -> Float64:
    """Log probability of each joint state of units with these pre-activations.

    Args:
        noise: the law of their noise.
        a: (states, rows, before, units).
        units: the joint states, (after, units).

    Returns:
        (states, rows, before, after).
    """
    import torch

    values = torch.from_numpy(a)
    up, down = noise.log_cdf(values).numpy(), noise.log_cdf(-values).numpy()
    total = np.zeros((*a.shape[:-1], len(units)))
    for unit in range(a.shape[-1]):
        total += np.where(units[:, unit] > 0, up[..., unit, None], down[..., unit, None])
    return total


def _log_sum(log_mass: Float64, log_step: Float64, place: npt.NDArray[np.int64]) -> Float64:
    """``log sum_z exp(log_mass[z] + log_step[place][z, z'])``, without the array of all pairs."""
    if log_mass.shape[-1] == 1:
        return log_mass + log_step[place, :, 0, :]
    found = np.full((*log_mass.shape[:2], log_step.shape[-1]), -np.inf)
    for before in range(log_mass.shape[-1]):
        term = log_mass[..., before, None] + log_step[place, :, before, :]
        np.logaddexp(found, term, out=found)
    return found


def _log_softmax(values: Float64) -> Float64:
    shifted = values - values.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
