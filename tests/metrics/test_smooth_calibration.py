"""Smooth calibration error: by quadrature of the kernel's own sum, relplot's, and its edges."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq

from bayes_sbn.metrics import bootstrap_interval, smooth_ece
from bayes_sbn.metrics.smooth_calibration import FINEST
from bayes_sbn.predictions import Predictions


def events_as_rows(p, z) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three classes whose top label has probability p and comes true where z is 1."""
    p = np.asarray(p, dtype=np.float64)
    return np.stack([p, (1 - p) / 2, (1 - p) / 2], axis=-1), np.where(z, 0, 1)


def by_quadrature(p: np.ndarray, z: np.ndarray, sigma: float) -> float:
    """The definition: reflections one by one, roots by bisection, the pieces by quadrature."""
    images = 2 * np.arange(-8, 9)[:, None]

    def smoothed(t: float) -> float:
        kernel = np.exp(-(((t - p + images) / sigma) ** 2) / 2)
        kernel += np.exp(-(((t + p + images) / sigma) ** 2) / 2)
        return float(np.mean(kernel.sum(0) * (p - z)) / (sigma * math.sqrt(2 * math.pi)))

    grid = np.linspace(0, 1, 1001)
    values = np.array([smoothed(t) for t in grid])
    turns = np.flatnonzero(values[:-1] * values[1:] < 0)
    roots = [brentq(smoothed, grid[i], grid[i + 1], xtol=1e-15) for i in turns]
    # Quadrature must not step over a narrow kernel: pieces of at most three bandwidths.
    cuts = np.unique([*roots, *np.linspace(0, 1, math.ceil(1 / (3 * sigma)) + 1)])
    return math.fsum(
        abs(quad(smoothed, a, b, epsabs=1e-13, epsrel=1e-13)[0])
        for a, b in itertools.pairwise(cuts)
    )


def sample(rows: int, power: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    p = 0.35 + 0.65 * generator.random(rows)
    p[:2] = 1
    return p, (generator.random(rows) < p**power).astype(np.float64)


@pytest.mark.parametrize("sigma", [0.03, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("power", [1.0, 1.5])
def test_error_of_a_bandwidth_equals_quadrature(sigma, power):
    p, z = sample(40, power)
    found = smooth_ece(*events_as_rows(p, z), bandwidth=sigma)
    np.testing.assert_allclose(found, by_quadrature(p, z, sigma), atol=1e-8)


def test_kernel_is_reflected_at_both_ends():
    # Class by class there are probabilities near 0 too.
    generator = np.random.default_rng(3)
    p = np.concatenate([[0.0, 1.0], generator.beta(0.3, 0.3, 30)])
    z = (generator.random(32) < p).astype(np.float64)
    probs = np.stack([1 - p, p], axis=-1)
    found = smooth_ece(probs, z.astype(int), kind="classwise", bandwidth=0.1)
    np.testing.assert_allclose(found, by_quadrature(p, z, 0.1), atol=1e-8)


@pytest.mark.parametrize("rows", [3, 10, 100, 3000])
def test_error_is_the_fixed_point(rows):
    probs, labels = events_as_rows(*sample(rows))
    value = smooth_ece(probs, labels)
    assert value > 0
    np.testing.assert_allclose(smooth_ece(probs, labels, bandwidth=value), value, rtol=1e-9)


def test_fixed_point_equals_quadrature():
    p, z = sample(30)
    value = smooth_ece(*events_as_rows(p, z))
    np.testing.assert_allclose(by_quadrature(p, z, value), value, atol=1e-8)


def test_error_falls_with_the_bandwidth():
    probs, labels = events_as_rows(*sample(300, 1.0))
    values = [smooth_ece(probs, labels, bandwidth=s) for s in (0.001, 0.01, 0.02, 0.05, 0.1)]
    assert np.all(np.diff(values) < 0)


def test_error_of_a_wide_kernel_is_the_mean_gap():
    p, z = sample(300)
    found = smooth_ece(*events_as_rows(p, z), bandwidth=50)
    np.testing.assert_allclose(found, abs(np.mean(p - z)), rtol=1e-12)


def test_error_of_gaps_of_one_sign_is_their_mean():
    # A kernel that loses no mass changes no integral: for every bandwidth, and the fixed point.
    p = np.array([0.4, 0.7, 0.95, 1.0])
    for bandwidth in (None, FINEST, 0.01, 0.1, 1.0):
        found = smooth_ece(*events_as_rows(p, np.zeros(4)), bandwidth=bandwidth)
        np.testing.assert_allclose(found, p.mean(), rtol=1e-9)


def test_error_equals_relplot():
    # relplot 1.0.3, of the uncertain rows of those given to netcal in test_calibration: f, y =
    # probs.max(1), (probs.argmax(1) == labels), relplot.metrics.config.smECE_mesh_pts = 20000,
    # relplot.metrics.smECE_sigma(f, y, sigma).  (Of a probability of exactly 1 it counts half.)
    generator = np.random.default_rng(11)
    weights = generator.random((300, 4)) ** 3
    probs = weights / weights.sum(1, keepdims=True)
    true = probs**0.7 / (probs**0.7).sum(1, keepdims=True)
    labels = (true.cumsum(1) < generator.random((300, 1))).sum(1).clip(0, 3)
    probs, labels = probs[:294], labels[:294]
    for sigma, expected in (
        (0.2, 0.08175697950406537),
        (0.1, 0.08175678066543947),
        (0.05, 0.08273163136918923),
        (0.02, 0.09673353943840625),
    ):
        found = smooth_ece(probs, labels, bandwidth=sigma)
        np.testing.assert_allclose(found, expected, atol=3e-5, err_msg=str(sigma))
    # relplot.smECE(f, y), and of each class relplot.smECE(probs[:, c], labels == c), with its usual
    # mesh of 200: it halves an interval of bandwidths ten times, and gives the error of one that
    # is at most 1/1024 too wide.
    assert abs(smooth_ece(probs, labels) - 0.08170473527374478) < 1e-3
    classes = [0.04353898750657173, 0.05358555044598361, 0.0558176589145532, 0.05355678693844846]
    assert abs(smooth_ece(probs, labels, kind="classwise") - np.mean(classes)) < 1e-3


def test_classwise_is_the_mean_of_the_classes_and_marginal_is_one_heap():
    generator = np.random.default_rng(2)
    probs = generator.dirichlet(np.ones(3), 50)
    labels = generator.integers(3, size=50)
    alone = [
        smooth_ece(np.stack([1 - p, p], -1), (labels == c).astype(int), kind="classwise")
        for c, p in enumerate(probs.T)
    ]
    np.testing.assert_allclose(smooth_ece(probs, labels, kind="classwise"), np.mean(alone), 1e-9)
    heap = by_quadrature(probs.T.ravel(), (np.eye(3)[labels]).T.ravel(), 0.1)
    found = smooth_ece(probs, labels, kind="marginal", bandwidth=0.1)
    np.testing.assert_allclose(found, heap, atol=1e-8)


def test_error_of_certain_rows():
    assert smooth_ece(np.eye(3), [0, 1, 2]) == 0
    np.testing.assert_allclose(smooth_ece(np.eye(3), [1, 2, 0]), 1, rtol=1e-12)
    np.testing.assert_allclose(smooth_ece(np.eye(3)[[0, 0]], [0, 1]), 0.5, rtol=1e-12)


def test_gaps_of_one_sign_are_not_limited_by_the_resolution():
    p = np.full(100, 1 - 1e-9)
    np.testing.assert_allclose(smooth_ece(*events_as_rows(p, np.ones(100))), 1e-9, rtol=1e-6)


def test_fixed_point_below_the_resolution_is_the_error_of_the_finest_bandwidth():
    # Of four rows of probability 0.75 three come true: no error at any bandwidth.
    assert smooth_ece(*events_as_rows([0.75] * 4, [1, 1, 1, 0])) < 1e-12
    # So near to each other the gaps all but cancel.
    p, z = np.array([0.75] * 3 + [0.75 + 1e-8]), [1, 1, 1, 0]
    value = smooth_ece(*events_as_rows(p, z))
    assert value == smooth_ece(*events_as_rows(p, z), bandwidth=FINEST)
    assert 0 < value < FINEST


def test_error_of_calibrated_rows_falls_with_their_number():
    values = [smooth_ece(*events_as_rows(*sample(rows, 1.0))) for rows in (100, 10_000)]
    assert values[1] < values[0] / 3


def test_error_is_continuous_where_bins_jump():
    p = np.array([0.6, 0.6 + 1e-7])  # on either side of an edge of fifteen bins
    z = np.array([1.0, 0.0])
    together = smooth_ece(*events_as_rows([0.6, 0.6], z))
    np.testing.assert_allclose(smooth_ece(*events_as_rows(p, z)), together, atol=1e-6)


def test_error_takes_predictions_and_tensors_in_any_order_of_rows():
    probs, labels = events_as_rows(*sample(50))
    value = smooth_ece(probs, labels)
    assert smooth_ece(torch.tensor(probs), torch.tensor(labels)) == value
    assert smooth_ece(Predictions(np.stack([probs, probs])), labels) == value
    order = np.random.default_rng(0).permutation(50)
    np.testing.assert_allclose(smooth_ece(probs[order], labels[order]), value, rtol=1e-11)


def test_error_is_bootstrapped_as_the_binned_ones():
    found = bootstrap_interval(smooth_ece, *events_as_rows(*sample(60)), bootstrap=39)
    assert found.method == "bounded bias"
    assert 0 <= found.low <= found.value <= found.high


@pytest.mark.parametrize("bandwidth", [0, 1e-6, -1, math.inf, math.nan])
def test_bandwidth_must_be_resolved(bandwidth):
    with pytest.raises(ValueError, match=r"smooth_ece\(\) needs a bandwidth of at least 6.1e-05"):
        smooth_ece([[0.5, 0.5]], [0], bandwidth=bandwidth)


def test_kind_must_be_known():
    with pytest.raises(ValueError, match=r"smooth_ece\(\) needs kind='top' or"):
        smooth_ece([[0.5, 0.5]], [0], kind="binary")
