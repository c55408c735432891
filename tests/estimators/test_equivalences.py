"""Estimators that are one and the same where the mathematics says so, draw for draw."""

import dataclasses

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import UnitFunction
from bayes_sbn.distributions import AffineLikelihood
from bayes_sbn.estimators import PathSampleAnalytic
from tests import chance, problems
from tests.estimators.conformance import PATHS, assert_nonzero, network, step, uniforms_of
from tests.oracle_noise import NOISES, SMOOTH_NOISES, density
from tests.oracles import log_likelihood, pre_activation
from tests.pyro_networks import PyroNetwork, assert_same_gradient, expected_gradient

EXACT_PSA = PathSampleAnalytic(real_inputs="exact")


def steps(net, label, *estimators):
    uniforms = uniforms_of(net, label)
    made = [sbn.TraceEstimator_ELBO(e, weight_kl=False) for e in estimators]
    return [step(elbo, net, uniforms) for elbo in made]


class Identity(UnitFunction):
    """``h(a) = a``, of which the flips know no more than its values."""

    def value(self, a):
        return a


class LinearHead(AffineLikelihood):
    """``log p = sum_j y_j a_j``, not normalised: a reward that is affine in the last bits."""

    def log_prob(self, value):
        return (value * self.affine.through(Identity())).sum(-1)


class ConstantHead(AffineLikelihood):
    """``log p = -3`` whatever the bits are."""

    def log_prob(self, value):
        return (0.0 * value * self.affine.through(Identity())).sum(-1) - 3.0


class RewardNetwork(PyroNetwork):
    """A network of ``tests.problems`` whose head is a reward."""

    def __init__(self, problem, head):
        self.head = head
        y = chance.numpy_generator("rewards").normal(size=(len(problem.x), 3))
        # the oracle lists the paths, for which it wants a likelihood that takes real targets
        net = dataclasses.replace(problem.net, likelihood="normal", sigma=np.ones(3))
        super().__init__(dataclasses.replace(problem, net=net, y=y))
        del self.leaves["sigma"]

    def model(self, x, y=None):
        weights = {name: self._weight(name, layer) for name, layer in self.net.maps}
        with pyro.plate("data", self.num_data, subsample=x, dim=-1):
            for name, _ in self.net.maps[:-1]:
                law = sbn.NoisySign(self._affine(name, x, weights[name]), noise=self.noise)
                x = pyro.sample(name, law, infer={"follows_model": True})
            return pyro.sample("y", self.head(self._affine("head", x, weights["head"])), obs=y)


DEEP = ["two_hidden_layers", "two_hidden_layers_real_weights"]


@pytest.mark.parametrize("problem", DEEP)
def test_psa_is_st_for_uniform_noise_and_an_affine_reward_while_flips_stay_inside(problem):
    given = getattr(problems, problem)("uniform", 40.0)
    psa, st = steps(RewardNetwork(given, LinearHead), "inside", "psa", "st")
    assert_same_gradient(psa.gradients, st.gradients, 1e-12)
    assert_nonzero(psa.gradients)


@pytest.mark.parametrize("problem", DEEP)
def test_psa_is_not_st_once_a_flip_leaves_the_support(problem):
    given = getattr(problems, problem)("uniform", 1.0)
    psa, st = steps(RewardNetwork(given, LinearHead), "inside", "psa", "st")
    assert psa.loss == st.loss
    assert np.abs(psa.gradients["layers.0.bias"] - st.gradients["layers.0.bias"]).max() > 1e-3


@pytest.mark.parametrize("noise", NOISES)
def test_psa_is_st_in_the_last_layers_under_an_affine_reward(noise):
    given = problems.two_hidden_layers_real_weights(noise, 2.0)
    psa, st = steps(RewardNetwork(given, LinearHead), f"last/{noise}", "psa", "st")
    last = [k for k in psa.gradients if not k.startswith("layers.0")]
    assert len(last) == 6
    assert_same_gradient(
        {k: psa.gradients[k] for k in last}, {k: st.gradients[k] for k in last}, 1e-12
    )
    # the noise of the second layer is not linear, so the first one's differ
    assert np.abs(psa.gradients["layers.0.bias"] - st.gradients["layers.0.bias"]).max() > 1e-5


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    "problem",
    ["one_hidden_layer_real_weights", "one_hidden_layer", "bernoulli_head", "normal_head"],
)
def test_psa_is_local_expectation_in_one_dense_hidden_layer(problem, noise):
    given = getattr(problems, problem)(noise, 2.0)
    (found,) = steps(PyroNetwork(given), f"local/{problem}/{noise}", "psa")

    def matrix(name, layer):
        value = found.sites[f"{name}.weight"]["value"] if layer.is_random else layer.weight
        return np.asarray(value.detach() if layer.is_random else value)

    (name, hidden), (_, head) = given.net.maps
    w, v = matrix(name, hidden), matrix("head", head)
    states = found.sites[name]["value"].detach().numpy()
    bias, scale, weight = np.zeros(len(w)), np.zeros(len(w)), np.zeros(w.shape)
    for x, y, bits in zip(given.x, given.y, states, strict=True):
        a = pre_activation(hidden, w, x)
        slope = density(noise, a, 2.0)
        for i in range(len(w)):
            reward = {}
            for sign in (1.0, -1.0):
                flipped = bits.copy()
                flipped[i] = sign
                reward[sign] = log_likelihood(given.net, pre_activation(head, v, flipped), y)
            signal = slope[i] * (reward[1.0] - reward[-1.0])
            bias[i] -= signal
            scale[i] -= signal * (w[i] @ x)
            weight[i] -= signal * hidden.scale[i] * x
    wanted = {"layers.0.bias": bias, "layers.0.scale": scale}
    if not hidden.is_random:
        wanted["layers.0.weight"] = weight
    assert_same_gradient({k: found.gradients[k] for k in wanted}, wanted, 1e-12)
    assert_nonzero(wanted)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("problem", ["two_hidden_layers", "two_hidden_layers_sign_head"])
def test_psa_flips_inputs_alike_for_drawn_weights_and_real_ones_of_the_same_values(problem, noise):
    given = getattr(problems, problem)(noise, 2.0, num_data=3)
    net = PyroNetwork(given)
    uniforms = uniforms_of(net, f"tagged/{problem}/{noise}")
    elbo = sbn.TraceEstimator_ELBO("psa", weight_kl=False)
    drawn = step(elbo, net, uniforms)

    def fixed(name, layer):
        if not layer.is_random:
            return layer
        value = drawn.sites[f"{name}.weight"]["value"].detach().numpy()
        return dataclasses.replace(layer, weight_mean=None, weight=value)

    maps = [fixed(name, layer) for name, layer in given.net.maps]
    plain = dataclasses.replace(given.net, layers=tuple(maps[:-1]), head=maps[-1])
    activations = {k: u for k, u in uniforms.items() if not k.endswith("weight")}
    real = step(elbo, PyroNetwork(dataclasses.replace(given, net=plain)), activations)
    assert real.loss == pytest.approx(drawn.loss, abs=1e-12)
    shared = [k for k in drawn.gradients if k.endswith(("scale", "bias"))]
    assert len(shared) == 6
    blocks = {k: drawn.gradients[k] for k in shared}
    assert_same_gradient({k: real.gradients[k] for k in shared}, blocks, 1e-12)
    assert_nonzero(blocks)


@pytest.mark.parametrize("noise", SMOOTH_NOISES)
def test_series_on_real_inputs_converges_to_exact_flips_at_third_order_in_the_scale(noise):
    given = problems.one_hidden_layer(noise)
    # -1 and 2 lie below and above every probability, so that the bits do not move with the scale
    given_bits = {
        k: torch.where(u < 0.5, -1.0, 2.0)
        for k, u in uniforms_of(PyroNetwork(given), f"series/{noise}").items()
    }
    errors = []
    for factor in (2e-2, 1e-2):
        first = dataclasses.replace(given.net.layers[0], scale=factor * given.net.layers[0].scale)
        scaled = dataclasses.replace(given, net=dataclasses.replace(given.net, layers=(first,)))
        series, exact = (
            step(sbn.TraceEstimator_ELBO(e, weight_kl=False), PyroNetwork(scaled), given_bits)
            for e in ("psa", EXACT_PSA)
        )
        errors.append(
            series.gradients["layers.0.weight_mean"] - exact.gradients["layers.0.weight_mean"]
        )
        others = set(exact.gradients) - {"layers.0.weight_mean"}
        assert_same_gradient(
            {k: series.gradients[k] for k in others}, {k: exact.gradients[k] for k in others}, 1e-13
        )
    assert np.abs(errors[1]).min() > 0
    np.testing.assert_allclose(errors[0] / errors[1], 8.0, rtol=0.05)


@pytest.mark.parametrize("problem", DEEP)
def test_score_of_a_constant_cost_has_expectation_zero(problem):
    net = RewardNetwork(getattr(problems, problem)(num_data=1), ConstantHead)

    def elbo(**options):
        return sbn.TraceEstimator_ELBO("score", weight_kl=False, **options)

    loss, gradients = expected_gradient(net, elbo)
    assert loss == pytest.approx(3.0, abs=1e-12)
    assert_same_gradient(gradients, {k: np.zeros_like(g) for k, g in gradients.items()}, 1e-12)
    (one,) = steps(net, "constant", "score")
    assert np.abs(one.gradients["layers.0.bias"]).max() > 0.1  # on one draw it is not zero


@pytest.mark.parametrize("problem", DEEP)
@pytest.mark.parametrize("name", PATHS)
def test_path_estimators_of_a_constant_cost_are_zero_on_every_draw(name, problem):
    net = RewardNetwork(getattr(problems, problem)(num_data=2), ConstantHead)
    (found,) = steps(net, "constant", name)
    assert found.loss == pytest.approx(6.0, abs=1e-12)
    assert all(not gradient.any() for gradient in found.gradients.values())


@pytest.mark.parametrize("name", ["two_hidden_layers", "bernoulli_head"])
def test_an_estimator_chosen_for_every_site_is_the_one_chosen_for_the_elbo(name):
    net = network(name)
    uniforms = uniforms_of(net, "sites")
    wanted = step(sbn.TraceEstimator_ELBO("psa"), net, uniforms)
    by_site = network(name, infer={site: {"estimator": "psa"} for site in uniforms})
    found = step(sbn.TraceEstimator_ELBO("score"), by_site, uniforms)
    assert found.loss == wanted.loss
    assert_same_gradient(found.gradients, wanted.gradients, 1e-14)
