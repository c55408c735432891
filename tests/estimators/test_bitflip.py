"""bitflip-1 and UGC: exact over all uniforms, their index included; better where bits decide."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators.residual_uniform import residual_uniform
from tests import chance
from tests.estimators.test_disarm import exact_of, one_unit
from tests.estimators.test_exact_expectation import EXACT_PSA, NOISES, lean, network
from tests.oracle_estimators import relative_bias
from tests.oracles import Layer, Net
from tests.problems import Problem, one_hidden_layer_real_weights
from tests.pyro_networks import PyroNetwork, assert_same_gradient
from tests.uniform_cells import all_uniforms, expected_gradient_over_uniforms

ESTIMATORS = ("bitflip1", "ugc")


def index_cells(number: int):
    """Where floor(number * v) changes, v being what the first bit's uniform has left."""

    def refine(p: float, place: int) -> list[float]:
        shares = np.arange(1, number) / number
        return [] if place else [*(p * shares), *(p + (1 - p) * shares)]

    return refine


def refined(net: PyroNetwork):
    sites = {}
    for name, layer in net.net.maps:
        if layer.is_random:
            sites[f"{name}.weight"] = index_cells(layer.shape[0] * layer.shape[1])
        sites[name] = index_cells(layer.shape[0])
    return sites


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("name", "num_data"), [("one_hidden_layer_real_weights", 2), ("chain", 1)])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equals_the_exact_gradient(estimator, name, num_data, noise):
    net = network(name, noise, num_data=num_data)
    cut = refined(net)
    mirrored = set(cut) if estimator == "ugc" else set()
    _, found = expected_gradient_over_uniforms(net, lean(estimator), mirrored, cut)
    assert_same_gradient(found, exact_of(net))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_is_exact_for_weights_that_share_a_cost(estimator):
    generator = np.random.default_rng(3)
    mean = np.array([[0.3], [-0.96], [0.7]])  # of three bits the second is decided: m < 1/6
    layer = Layer(generator.uniform(0.6, 1.4, 3), generator.uniform(-0.4, 0.4, 3), weight_mean=mean)
    head = Layer(np.ones(2), np.array([0.2, -0.1]), weight=generator.normal(0, 1.2, (2, 3)))
    problem = Problem(
        "signs", Net((layer,), head, "logistic", 1.0), np.array([[0.8]]), np.array([0])
    )
    site = "layers.0.weight"
    net = PyroNetwork(problem, infer={site: {"estimator": estimator}})
    mirrored = {site} if estimator == "ugc" else set()
    found = expected_gradient_over_uniforms(net, lean("psa"), mirrored, {site: index_cells(3)})[1][
        "layers.0.weight_mean"
    ]
    assert found == pytest.approx(exact_of(net)["layers.0.weight_mean"], abs=1e-10)


def test_bitflip_is_exact_below_another_layer():
    infer = {"layers.0": {"estimator": "bitflip1"}}
    net = network("two_hidden_layers_real_weights", num_data=1, infer=infer)
    cut = {"layers.0": index_cells(3)}
    _, found = expected_gradient_over_uniforms(net, lean(EXACT_PSA), (), cut)
    assert_same_gradient(found, exact_of(net))


def test_an_index_that_knows_the_draw_would_be_noticed():
    # without the cells of the index each cell of the first bit stands for one index
    net = network("one_hidden_layer_real_weights", num_data=1)
    _, found = expected_gradient_over_uniforms(net, lean("bitflip1"))
    assert relative_bias(found, exact_of(net))["layers.0.weight"] > 0.01


def test_every_row_flips_one_bit_of_its_own():
    net = PyroNetwork(one_hidden_layer_real_weights(num_data=3))
    u = torch.full((3, 3), 0.5)
    probs = torch.tensor(
        [[1 / (1 + np.exp(-a)) for a in row] for row in first_pre_activations(net)]
    )
    # what is left of the first bit's uniform is 1/6, 1/2, 5/6: the indices 0, 1, 2
    u[:, 0] = probs[:, 0] * torch.tensor([1 / 6, 1 / 2, 5 / 6])
    with sbn.force_draws({}, {"layers.0": u}):
        elbo = sbn.TraceEstimator_ELBO("bitflip1")
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    # the row k moves the k-th unit's weights alone
    gradient = net.gradients()["layers.0.weight"]
    for k in range(3):
        share = gradient[k] / net.problem.x[k]
        assert share[0] == pytest.approx(share[1], rel=1e-9)
        assert abs(share[0]) > 1e-4


def first_pre_activations(net):
    layer = net.net.layers[0]
    return (net.problem.x @ layer.weight.T) * layer.scale + layer.bias


def test_ugc_is_bitflip_where_bits_are_decided_and_disarm_elsewhere():
    for a, like in ((0.4, "disarm"), (-0.4, "disarm")):
        net, u = one_unit(a), {"layers.0": torch.full((1, 1), 0.1)}
        # one bit: m < 1/2 always, so that bitflip-1, which is the local expectation, is chosen
        found = {}
        for estimator in ("ugc", "bitflip1", "local", like):
            with sbn.force_draws({}, u):
                elbo = sbn.TraceEstimator_ELBO(estimator)
                elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
            found[estimator] = net.gradients()["layers.0.weight"].item()
        assert found["ugc"] == pytest.approx(found["bitflip1"], abs=1e-12)
        assert found["bitflip1"] == pytest.approx(found["local"], abs=1e-12)
        assert abs(found["disarm"] - found["ugc"]) > 1e-3
    # three undecided bits: DisARM
    net = PyroNetwork(one_hidden_layer_real_weights(num_data=1))
    probs = 1 / (1 + np.exp(-first_pre_activations(net)))
    assert (np.minimum(probs, 1 - probs) > 1 / 6).all()
    torch.manual_seed(1)
    u, found = {"layers.0": torch.rand(1, 3)}, {}
    for estimator in ("ugc", "disarm"):
        with sbn.force_draws({}, u):
            sbn.TraceEstimator_ELBO(estimator).loss_and_grads(net.model, net.guide, net.x, net.y)
        found[estimator] = net.gradients()
    assert_same_gradient(found["ugc"], found["disarm"], 1e-12)


def second_moment(net, estimator, cut):
    uniforms, volume = all_uniforms(net, {"layers.0"}, cut)
    elbo, total = sbn.TraceEstimator_ELBO(estimator), 0.0
    for u, share in zip(uniforms["layers.0"], volume, strict=True):
        with sbn.force_draws({}, {"layers.0": u}):
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        # in the mean, where certain bits do not vanish
        total += float(share) * float((net.gradients()["layers.0.bias"] ** 2).sum())
    return total


def test_ugc_varies_less_than_disarm_where_bits_are_decided():
    problem = one_hidden_layer_real_weights(num_data=1)
    problem.net.layers[0].bias[:] = [4.0, -4.0, 0.3]
    net = PyroNetwork(problem)
    moments = {e: second_moment(net, e, {"layers.0": index_cells(3)}) for e in ("ugc", "disarm")}
    assert moments["ugc"] < moments["disarm"]


@pytest.mark.parametrize("p", [0.3, 0.9])
def test_residual_is_uniform_and_independent_of_the_draw(p):
    u = torch.rand(20_000, generator=chance.torch_generator(f"residual/{p}"))
    v = residual_uniform(u, u < p, torch.where(u < p, p, 1 - p))
    assert 0 <= float(v.min()) < float(v.max()) < 1
    for outcome in (u < p, u >= p):
        chosen = v[outcome]
        counts = torch.histc(chosen, 4, 0, 1)
        chance.assert_count(counts, len(chosen), 0.25, detects=0.1)


def test_residual_at_certain_outcomes_is_finite():
    u = torch.tensor([0.0, 0.4, 1.0])
    for p, outcome in ((0.0, False), (1.0, True)):
        chosen = torch.tensor(p if outcome else 1 - p)
        v = residual_uniform(u, torch.full((3,), outcome), chosen)
        assert torch.isfinite(v).all()
        assert v[1] == pytest.approx(0.4 if outcome else 0.6)


@pytest.mark.parametrize("estimator", ["arm", "arms", *ESTIMATORS])
def test_draws_given_by_value_are_an_error(estimator):
    net = one_unit(0.3)
    elbo = sbn.TraceEstimator_ELBO(estimator)
    with (
        pytest.raises(ValueError, match=rf'"{estimator}", site "layers.0": the draw was.*uniform'),
        sbn.force_draws({"layers.0": torch.ones(1, 1)}),
    ):
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)


@pytest.mark.parametrize("estimator", ["arm", "arms", *ESTIMATORS])
def test_states_that_cannot_be_drawn_leave_gradients_finite(estimator):
    for noise in NOISES:
        for a in (60.0, -60.0):
            net = one_unit(a)
            net.noise = sbn.noise.get_noise(noise)
            for u in (0.0, 0.5, 1.0):
                with sbn.force_draws({}, {"layers.0": torch.full((1, 1), u)}):
                    elbo = sbn.TraceEstimator_ELBO(estimator)
                    elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
                assert np.isfinite(net.gradients()["layers.0.weight"]).all()
