"""ARM and ARMS: exact over all uniforms; the draws that repel one another have the stated law."""

import itertools

import numpy as np
import pytest
import torch
from scipy import integrate

import bayes_sbn as sbn
from bayes_sbn.estimators import ARMS
from bayes_sbn.estimators.arms import at_least, repelling_signs
from tests import chance
from tests.estimators.test_disarm import exact_of, one_unit
from tests.estimators.test_exact_expectation import EXACT_PSA, NOISES, lean, network
from tests.oracle_estimators import relative_bias
from tests.problems import one_hidden_layer_real_weights
from tests.pyro_networks import PyroNetwork, assert_same_gradient
from tests.uniform_cells import all_uniforms, expected_gradient_over_uniforms


def thresholds_of(number: int):
    """Where a uniform changes one of the n draws, found by the literal chain of conditionals."""

    def refine(p: float, place: int) -> list[float]:
        del place
        m = min(p, 1 - p)
        t = 1 - max(m, 2.3e-16) ** (1 / (number - 1))
        found = []
        for up in (True, False):
            low, high = (0.0, p) if up else (1.0, p)
            rare = up == (p <= 0.5)
            found += inner(low, high, [rare], t, number)
        return found

    return refine


def probability_of(pattern: list, t: float, number: int) -> float:
    """By inclusion and exclusion over the places that are to stay below t."""
    ones = sum(pattern)
    zeros = len(pattern) - ones
    return sum(
        (-1) ** len(extra) * max(0.0, 1 - (ones + len(extra)) * t) ** (number - 1)
        for size in range(zeros + 1)
        for extra in itertools.combinations(range(zeros), size)
    )


def inner(low: float, high: float, pattern: list, t: float, number: int) -> list:
    if len(pattern) == number:
        return []
    before = probability_of(pattern, t, number)
    share = probability_of([*pattern, True], t, number) / before if before > 1e-15 else 0.0
    middle = low + (high - low) * min(max(share, 0.0), 1.0)
    return [
        middle,
        *inner(low, middle, [*pattern, True], t, number),
        *inner(high, middle, [*pattern, False], t, number),  # what is left counts from that end
    ]


def patterns(number: int) -> list[tuple[bool, ...]]:
    """Which of n draws have the rarer state."""
    return list(itertools.product((False, True), repeat=number))


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("m", [0.05, 0.3, 0.5])
def test_stated_probabilities_are_those_of_the_dirichlet_copula(m, number):
    samples = 100_000
    generator = chance.numpy_generator(f"dirichlet/{m}/{number}")
    d = generator.dirichlet(np.ones(number), samples)
    rare = (1 - d) ** (number - 1) < m
    t = 1 - m ** (1 / (number - 1))
    counts = [int((rare == pattern).all(1).sum()) for pattern in patterns(number)]
    shares = [max(0.0, probability_of(list(p), t, number)) for p in patterns(number)]
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    chance.assert_count(counts, samples, shares, detects=0.02)


@pytest.mark.parametrize("number", [2, 3, 4, 6])
@pytest.mark.parametrize("m", [0.05, 0.3, 0.5])
def test_draws_have_the_stated_probabilities(m, number):
    t = 1 - m ** (1 / (number - 1))
    total = dict.fromkeys(patterns(number), 0.0)
    for first, share in ((True, m), (False, 1 - m)):
        ends = np.unique([0.0, 1.0, *inner(0.0, 1.0, [first], t, number)])
        middles = torch.tensor((ends[1:] + ends[:-1]) / 2)
        state = torch.full_like(middles, 1.0 if first else -1.0)
        signs = repelling_signs(middles, state, torch.full_like(middles, m), number)
        for k, length in enumerate(np.diff(ends)):
            total[(first, *(bool(s[k] > 0) for s in signs))] += share * length
    for pattern, found in total.items():
        assert found == pytest.approx(probability_of(list(pattern), t, number), abs=1e-12)


@pytest.mark.parametrize("number", [4, 16])
def test_draws_in_single_precision_are_those_in_double(number):
    generator = chance.torch_generator(f"single/{number}")
    left, first = torch.rand(2, 2000, generator=generator, dtype=torch.float32)
    m = 0.5 * torch.rand(2000, generator=generator, dtype=torch.float32)
    first = torch.where(first < m, 1.0, -1.0)
    single = torch.stack(repelling_signs(left, first, m, number))
    double = torch.stack(repelling_signs(left.double(), first.double(), m.double(), number))
    # a draw that falls within rounding of a threshold may differ, and those after it
    assert single.dtype == torch.float32
    assert float((single != double).any(0).double().mean()) < 0.01
    assert float((double > 0).double().mean()) == pytest.approx(float(m.mean()), abs=0.05)


@pytest.mark.parametrize("number", [3, 4, 7])
@pytest.mark.parametrize("m", [0.02, 0.2, 0.5])
def test_pairs_have_the_correlation_that_is_divided_by(m, number):
    # u = (1 - d)^(n-1) < m: given d_1 = d, the others are uniform on a simplex of size 1 - d
    t = 1 - m ** (1 / (number - 1))

    def both(d):
        density = (number - 1) * (1 - d) ** (number - 2)
        left = max(0.0, 1 - t / (1 - d)) if d < 1 else 0.0
        return density * left ** (number - 2)

    wanted, _ = integrate.quad(both, t, 1, epsabs=1e-13, points=[min(1.0, max(t, 1 - t))])
    found = float(at_least(torch.tensor(m), 2, number))
    assert found == pytest.approx(wanted, abs=1e-9)
    assert float(at_least(torch.tensor(m), 1, number)) == pytest.approx(m, abs=1e-12)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("name", "num_data"), [("one_hidden_layer_real_weights", 2), ("chain", 1)])
def test_arm_equals_the_exact_gradient(name, num_data, noise):
    # linear in each uniform between thresholds, so that midpoints integrate it exactly
    net = network(name, noise, num_data=num_data)
    sites = {f"layers.{k}{kind}" for k in range(3) for kind in ("", ".weight")}
    _, found = expected_gradient_over_uniforms(net, lean("arm"), sites)
    assert_same_gradient(found, exact_of(net))


@pytest.mark.parametrize(
    ("number", "noise"), [(3, "logistic"), (4, "logistic"), *((3, noise) for noise in NOISES[1:])]
)
def test_arms_equals_the_exact_gradient(number, noise):
    net = network("one_hidden_layer_real_weights", noise, num_data=1)
    cut = {"layers.0": thresholds_of(number)}
    _, found = expected_gradient_over_uniforms(net, lean(ARMS(n_samples=number)), (), cut)
    assert_same_gradient(found, exact_of(net))


def test_arms_is_exact_for_weights_and_in_depth():
    infer = {"layers.1.weight": {"estimator": ARMS(n_samples=3)}}
    infer |= {"layers.0": {"estimator": ARMS(n_samples=3)}}
    net = network("chain", num_data=1, infer=infer)
    cut = {name: thresholds_of(3) for name in infer}
    _, found = expected_gradient_over_uniforms(net, lean(EXACT_PSA), (), cut)
    assert_same_gradient(found, exact_of(net))


@pytest.mark.parametrize("estimator", ["arm", ARMS(n_samples=3)])
def test_cells_that_are_too_large_would_be_noticed(estimator):
    net = network("one_hidden_layer_real_weights", num_data=1)
    _, found = expected_gradient_over_uniforms(net, lean(estimator))
    assert relative_bias(found, exact_of(net))["layers.0.weight"] > 0.01


def gradient_at(net, estimator, u):
    with sbn.force_draws({}, {"layers.0": u}):
        elbo = sbn.TraceEstimator_ELBO(estimator)
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    return elbo.passes, net.gradients()


def test_passes_are_the_number_of_draws():
    net = one_unit(0.4)
    for number in (3, 6):
        assert gradient_at(net, ARMS(n_samples=number), torch.full((1, 1), 0.2))[0] == number


def second_moment(net, estimator, cut):
    uniforms, volume = all_uniforms(net, {"layers.0"}, cut)
    total = 0.0
    for u, share in zip(uniforms["layers.0"], volume, strict=True):
        _, found = gradient_at(net, estimator, u)
        total += float(share) * float((found["layers.0.weight"] ** 2).sum())
    return total


def test_two_draws_have_the_law_of_disarm_and_more_vary_less():
    net = PyroNetwork(one_hidden_layer_real_weights(num_data=1))
    moments = {
        n: second_moment(net, ARMS(n_samples=n), {"layers.0": thresholds_of(n)}) for n in (2, 3)
    }
    disarm = second_moment(net, "disarm", {})
    assert moments[2] == pytest.approx(disarm, rel=1e-12)
    assert moments[3] < 0.8 * disarm


def test_arm_is_disarm_and_noise():
    # given the pair, ARM's weight 1/2 - u is uniform within an interval: its mean is DisARM's
    net = one_unit(0.4)
    p = 1 / (1 + np.exp(-0.4))
    for low, high in ((0, 1 - p), (1 - p, p), (p, 1)):
        ends = [
            gradient_at(net, "arm", torch.full((1, 1), u))[1]["layers.0.weight"].item()
            for u in (low + 1e-9, high - 1e-9)
        ]
        inside = torch.full((1, 1), (low + high) / 2)
        disarm = gradient_at(net, "disarm", inside)[1]["layers.0.weight"].item()
        assert sum(ends) / 2 == pytest.approx(disarm, abs=1e-8)
        if disarm:
            assert abs(ends[0] - ends[1]) > 0.01


def test_wrong_numbers_of_draws_are_errors():
    for number in (1, 17, 2.5, True):
        with pytest.raises(ValueError, match="whole number from 2, which is DisARM, to 16"):
            ARMS(n_samples=number)
    assert repr(ARMS()) == "ARMS(n_samples=4)"
