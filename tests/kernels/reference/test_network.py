"""The forward pass: exact integers, and expectations equal to exact enumeration."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax

from bayes_sbn.kernels.reference.network import (
    DenseLayer,
    Network,
    draw_network,
    network_thresholds,
    output_dots,
    output_logits,
    signs_of_words,
    softmax64,
)
from bayes_sbn.kernels.reference.sampling import probability_thresholds, shared_thresholds
from bayes_sbn.philox import fold_stream
from tests import oracles
from tests.chance import numpy_generator
from tests.kernels.reference import draw_oracle as oracle
from tests.oracle_networks import Layer, Net

KEY = fold_stream(7)


def random_network(sizes, noises, label, input_scale=0.25):
    """A network with weights of all probabilities, and scales of both signs."""
    g = numpy_generator(label)
    layers = []
    for site, noise in enumerate((*noises, None)):
        out, num_inputs = sizes[site + 1], sizes[site]
        layers.append(
            DenseLayer(
                site=site,
                thresholds=probability_thresholds(g.uniform(size=(out, num_inputs))),
                scale=g.normal(size=out) / num_inputs**0.5,
                bias=g.normal(size=out) / 2,
                noise=noise,
                noise_scale=1.5,
            )
        )
    return Network(tuple(layers), input_scale)


def signs(network, words):
    """Unpacked weights of all layers."""
    pairs = zip(words, network.layers, strict=True)
    return [signs_of_words(w, layer.num_inputs) for w, layer in pairs]


def plain_logits(network, draws, x, first_row, is_shared):
    """The forward pass in Python numbers."""
    result = []
    for draw, (row, inputs) in itertools.product(draws, enumerate(x)):
        values = [int(v) for v in inputs]
        for index, layer in enumerate(network.layers):
            dots = []
            for unit in range(layer.num_units):
                dot = 0
                for k, value in enumerate(values):
                    u32 = oracle.weight_u32(KEY, int(draw), layer.site, unit, k)
                    dot += value if u32 < int(layer.thresholds[unit, k]) else -value
                dots.append(dot)
            if layer.noise is None:
                break
            values = []
            for unit, dot in enumerate(dots):
                scale = float(layer.scale[unit])
                if index == 0:
                    scale = scale * network.input_scale
                a = scale * float(dot) + float(layer.bias[unit])
                u48 = (
                    oracle.shared_u48(KEY, int(draw), layer.site, unit)
                    if is_shared
                    else oracle.row_u48(KEY, int(draw), layer.site, unit, first_row + row)
                )
                positive = u48 < oracle.threshold48(layer.noise, a, layer.noise_scale)
                values.append(1 if positive else -1)
        result.append(dots)
    return np.array(result).reshape(len(draws), len(x), -1)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize(
    ("sizes", "noises"),
    [
        ((3, 2), ()),
        ((5, 4, 3), ("logistic",)),
        ((33, 5, 4, 2), ("gaussian", "laplace")),
        ((2, 3, 1, 2), ("triangular", "uniform")),
    ],
)
def test_output_dots_are_those_of_plain_loops(sizes, noises, is_shared):
    network = random_network(sizes, noises, f"loops/{sizes}")
    draws = np.array([3, 0, 1000])
    x = numpy_generator("loops/x").integers(-9, 10, (4, sizes[0])).astype(np.int16)
    found = output_dots(
        network,
        signs(network, draw_network(network, KEY, draws)),
        x,
        key=KEY,
        draws=draws,
        thresholds=network_thresholds(network, KEY, draws) if is_shared else None,
        first_row=30,
    )
    assert found.dtype == np.int64
    assert (found == plain_logits(network, draws, x, 30, is_shared)).all()


@pytest.mark.parametrize("num_inputs", [511, 701])
def test_dots_are_exact_where_float32_sums_are_not(num_inputs):
    """Odd summands above 2**24 in total: a float32 product would round them."""
    network = random_network((num_inputs, 3), (), f"exact/{num_inputs}")
    weights = signs(network, draw_network(network, KEY, np.arange(6)))
    g = numpy_generator("exact/x")
    x = (2 * g.integers(16000, 16384, (5, num_inputs)) - 1).astype(np.int16)
    x *= weights[0][0, 0].astype(np.int16)  # the first dot is the sum of all magnitudes
    found = output_dots(
        network, weights, x, key=KEY, draws=np.arange(6), thresholds=None, first_row=0
    )
    exact = np.einsum("nk,sjk->snj", x.astype(np.int64), weights[0].astype(np.int64))
    assert (found == exact).all()
    if num_inputs == 701:
        rounded = x.astype(np.float32) @ weights[0].swapaxes(1, 2)
        assert exact.max() > 2**24
        assert (rounded.astype(np.int64) != exact).any()


def test_logits_round_the_product_before_the_sum():
    network = random_network((3, 2), (), "logits")
    dots = np.array([[[3, -1]]])
    layer = network.layers[0]
    for c in range(2):
        scale = float(layer.scale[c]) * network.input_scale
        expected = scale * float(dots[0, 0, c]) + float(layer.bias[c])
        assert output_logits(network, dots)[0, 0, c] == expected


def test_softmax64_agrees_with_scipy_and_keeps_small_probabilities():
    g = numpy_generator("softmax")
    logits = g.normal(size=(20, 30, 7)) * 10.0 ** g.uniform(-3, 2, (20, 30, 1))
    np.testing.assert_allclose(softmax64(logits), softmax(logits, axis=-1), rtol=1e-13, atol=0)
    extreme = softmax64(np.array([[0.0, -700.0, -2000.0], [1e300, -1e300, 0.0]]))
    np.testing.assert_allclose(extreme[0], [1.0, np.exp(-700.0), 0.0], rtol=1e-14)
    assert extreme[1].tolist() == [1.0, 0.0, 0.0]


def test_softmax64_of_a_row_does_not_depend_on_its_neighbours():
    logits = numpy_generator("softmax/rows").normal(size=(9, 13, 10)) * 5
    whole = softmax64(logits)
    for n in range(13):
        assert softmax64(logits[:, n : n + 1].copy()).tobytes() == whole[:, n : n + 1].tobytes()


DYADIC = {
    # one hidden layer: every cdf is a multiple of 1/16
    "one": (
        (2, 2, 2),
        16,
        [
            ([[1, 0.75], [0.25, 0.5]], [1.0, -0.5], [0.5, 0.0]),
            ([[0.5, 0.125], [0.75, 0]], [1.5, 0.7], [0.3, -0.2]),
        ],
    ),
    # two: multiples of 1/8
    "two": (
        (2, 2, 1, 2),
        8,
        [
            ([[0.75, 0.5], [0.25, 1]], [1.0, -1.0], [0.0, 1.0]),
            ([[0.5, 0.875]], [1.0], [-1.0]),
            ([[0.25], [0.5]], [1.1, -0.4], [0.3, -0.2]),
        ],
    ),
}


@pytest.mark.parametrize("name", DYADIC)
def test_expectation_equals_exact_enumeration(name):
    """All weights and all distinct noises once each: the mean is the predictive, to rounding.

    The noise is uniform and its cdf a multiple of 1/cells, so uniforms in steps of 2**48/cells
    stand for all.
    """
    sizes, cells, parameters = DYADIC[name]
    layers, plain = [], []
    for site, (p, scale, bias) in enumerate(parameters):
        p, scale, bias = np.array(p), np.array(scale), np.array(bias)
        noise = None if site == len(parameters) - 1 else "uniform"
        layers.append(DenseLayer(site, probability_thresholds(p), scale, bias, noise, 4.0))
        plain.append(Layer(scale=scale, bias=bias, weight_mean=2 * p - 1))
    network = Network(tuple(layers), 0.5)
    net = Net(layers=tuple(plain[:-1]), head=plain[-1], noise="uniform", noise_scale=4.0)
    x = np.array([[2, -2], [4, 2], [0, -4]], np.int16)

    bits = sum(layer.thresholds.size for layer in layers)
    states = 2.0 * np.array(list(itertools.product([0, 1], repeat=bits))) - 1
    p = np.concatenate([np.ravel(q) for q, _, _ in parameters])
    weight_probability = np.where(states > 0, p, 1 - p).prod(-1)
    units = sum(sizes[1:-1])
    u48 = np.array(list(itertools.product(range(cells), repeat=units))) * (2**48 // cells)

    num = len(states) * len(u48)
    probability = np.repeat(weight_probability, len(u48)) / len(u48)
    weights, start = [], 0
    for layer in layers:
        part = states[:, start : start + layer.thresholds.size].astype(np.float32)
        start += layer.thresholds.size
        shape = (len(states), layer.num_units, layer.num_inputs)
        weights.append(np.repeat(part.reshape(shape), len(u48), axis=0))
    thresholds, start = [], 0
    for index, layer in enumerate(layers[:-1]):
        part = u48[:, start : start + layer.num_units]
        start += layer.num_units
        found = shared_thresholds(
            part, network.scale(index), layer.bias, "uniform", 4.0, network.largest_dot(index)
        )
        thresholds.append(np.tile(found, (len(states), 1)))
    dots = output_dots(
        network,
        weights,
        x,
        key=KEY,
        draws=np.arange(num),
        thresholds=thresholds,
        first_row=0,
    )
    probs = softmax64(output_logits(network, dots))
    mean = np.einsum("s,snc->nc", probability, probs)
    np.testing.assert_allclose(mean, oracles.predictive_mean(net, x * 0.5), rtol=0, atol=1e-12)
    # a part of the noise alone gives something else: the sum above is not equal by being trivial
    part = probability * (thresholds[-1][:, 0] <= 0)
    partial = np.einsum("s,snc->nc", part / part.sum(), probs)
    assert np.abs(partial - mean).max() > 1e-3
