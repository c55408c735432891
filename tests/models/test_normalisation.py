"""Normalised BinaryMLP: statistics by enumeration, what is kept when, and what is refused."""

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, config_enumerate

import bayes_sbn as sbn
from bayes_sbn.affines import affine
from bayes_sbn.models.normalisation import statistics_of
from bayes_sbn.signs import tag_moments
from tests.models.normalised_networks import EPS, means_of, normalised_network, oracle_of
from tests.oracle_networks import sign_states


def statistics_in(model, guide, x, y):
    """What one run normalised by, read off the laws of its activations."""
    guide(x, y)
    nodes = guide.get_traces()[0].nodes
    found = []
    for k, layer in enumerate(model.hidden, 1):
        pre = nodes[f"x{k}"]["fn"].affine
        variance = (layer.scale / pre.scale).detach().square() - EPS
        mean = ((layer.bias - pre.bias) / pre.scale).detach()
        found.append((mean.numpy(), variance.numpy()))
    return found


@pytest.mark.parametrize("noise", ["logistic", "uniform", "gaussian"])
def test_propagated_statistics_are_those_of_the_formulas(noise):
    model, guide, x, y = normalised_network("analytic", (3, 4, 3, 2), noise)
    found = statistics_in(model, guide, x, y)
    wanted, _ = oracle_of(model, guide, x)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_statistics_of_the_first_layer_are_moments_over_all_states_of_the_weights():
    model, guide, x, y = normalised_network("analytic", (3, 2, 2))
    ((mean, variance),) = statistics_in(model, guide, x, y)
    w = sign_states(3)  # the rows of a layer's weights are independent
    for j, mu in enumerate(means_of(guide)[0]):
        q = ((1 + w * mu) / 2).prod(1)
        p = w @ x.numpy().T
        wanted = (q @ p).mean()
        assert mean[j] == pytest.approx(wanted, abs=1e-12)
        assert variance[j] == pytest.approx((q @ (p - wanted) ** 2).mean(), abs=1e-9)
        misprint = (mu**2 * x.numpy() ** 2).sum(1).mean()  # of the literature, for 1 - mu^2
        assert abs(variance[j] - misprint) > 0.1


def test_statistics_of_random_inputs_are_moments_over_weights_and_inputs():
    draw = np.random.default_rng(5)
    mu, phi = draw.uniform(-0.9, 0.9, 3), draw.uniform(-0.9, 0.9, (4, 3))
    product = affine(
        tag_moments(torch.tensor(phi), "x", "a"), tag_moments(torch.tensor(mu[None]), "w", "a")
    )
    found = statistics_of(product)
    w = sign_states(3)
    q = ((1 + w * mu) / 2).prod(1)
    mean = np.mean([q @ (w @ w.T) @ ((1 + w * row) / 2).prod(1) for row in phi])
    square = np.mean([q @ (w @ w.T - mean) ** 2 @ ((1 + w * row) / 2).prod(1) for row in phi])
    assert float(found.mean) == pytest.approx(mean, abs=1e-12)
    assert float(found.variance) == pytest.approx(square, abs=1e-12)


def test_propagated_statistics_do_not_depend_on_draws_and_are_shared_by_particles():
    model, guide, x, y = normalised_network("analytic")
    first, second = (statistics_in(model, guide, x, y) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    elbo = sbn.TraceEstimator_ELBO("st", num_particles=3, vectorize_particles=True)
    elbo.loss_and_grads(model, guide, x, y)
    np.testing.assert_allclose(model.hidden[0].mean, first[0][0], rtol=1e-9)


def test_measured_statistics_are_those_of_the_draw():
    model, guide, x, y = normalised_network("recalibrated", (3, 4, 3, 2), rows=6)
    found = statistics_in(model, guide, x, y)
    nodes = guide.get_traces()[1].nodes
    inputs = x.numpy()
    for k, (mean, variance) in enumerate(found):
        p = inputs @ nodes[f"hidden.{k}.weight"]["value"].detach().numpy().T
        np.testing.assert_allclose(mean, p.mean(0), atol=1e-9)
        np.testing.assert_allclose(variance, p.var(0), atol=1e-9)
        inputs = nodes[f"x{k + 1}"]["value"].detach().numpy()


def test_frozen_statistics_are_those_of_the_first_step_and_stay():
    model, guide, x, y = normalised_network("frozen")
    elbo = sbn.TraceEstimator_ELBO("psa")
    elbo.loss(model, guide, x, y)  # no step
    sbn.guides.AutoSignBernoulli(model, example=(x, y))
    assert not model.hidden[0].is_measured
    wanted, _ = oracle_of(model, guide, x)
    svi = pyro.infer.SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.1}), loss=elbo)
    svi.step(x, y)
    kept = {name: b.clone() for name, b in model.named_buffers() if "hidden" in name}
    for layer, (mean, variance) in zip(model.hidden, wanted, strict=True):
        np.testing.assert_allclose(layer.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(layer.variance, variance, rtol=1e-12)
    svi.step(2 * x, y)
    assert all(torch.equal(b, kept[n]) for n, b in model.named_buffers() if n in kept)


def test_running_averages_are_of_steps_and_serve_eval_mode():
    model, guide, x, y = normalised_network("analytic")
    elbo = sbn.TraceEstimator_ELBO("psa")
    with pytest.raises(RuntimeError, match=r"not been measured yet. Fit the model, or write model"):
        model.eval()(x)
    model.train()
    first, _ = oracle_of(model, guide, x)
    second, _ = oracle_of(model, guide, 2 * x)
    for rows in (x, 2 * x):
        elbo.loss_and_grads(model, guide, rows, y)
        elbo.loss(model, guide, 5 * x, y)
        guide(5 * x)  # neither is a step
    for layer, one, other in zip(model.hidden, first, second, strict=True):
        np.testing.assert_allclose(layer.mean, 0.9 * one[0] + 0.1 * other[0], rtol=1e-10)
        np.testing.assert_allclose(layer.variance, 0.9 * one[1] + 0.1 * other[1], rtol=1e-10)
    model.eval()
    found = statistics_in(model, guide, 7 * x, y)
    np.testing.assert_allclose(found[0][0], model.hidden[0].mean, rtol=1e-9)


@pytest.mark.parametrize("kind", ["analytic", "frozen"])
def test_what_is_exported_is_the_folded_network(kind):
    model, guide, x, _ = normalised_network(kind)
    with pytest.raises(
        RuntimeError, match=r"BinaryMLP.architecture\(\): the statistics of normali"
    ):
        model.architecture()
    model.calibrate(guide, x)
    _, net = oracle_of(model, guide, x)
    posterior = sbn.Posterior.from_guide(model, guide)
    for layer, (_, wanted) in zip(posterior.layers, net.maps, strict=True):
        np.testing.assert_allclose(layer.scale, wanted.scale, rtol=1e-12)
        np.testing.assert_allclose(layer.bias, wanted.bias, rtol=1e-12)


@pytest.mark.parametrize("kind", ["analytic", "frozen", "recalibrated"])
def test_a_summary_changes_nothing_that_is_kept(kind):
    model, guide, *_ = normalised_network(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert sbn.summary(model, guide).bits == 8
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_layers_say_whether_rows_depend_on_each_other():
    for kind, at_first, calibrated, in_eval in (
        ("analytic", True, True, False),
        ("frozen", True, False, False),
        ("recalibrated", True, True, True),
    ):
        model, guide, x, _ = normalised_network(kind)
        assert model.hidden[0].couples_rows == at_first
        if kind != "recalibrated":
            model.calibrate(guide, x)
        assert model.hidden[0].couples_rows == calibrated
        assert model.eval().hidden[0].couples_rows == in_eval


def test_the_kept_statistics_travel_in_the_state_dict():
    model, guide, x, _ = normalised_network("analytic")
    model.calibrate(guide, x)
    other, *_ = normalised_network("analytic")
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.hidden[0].mean, model.hidden[0].mean)
    assert other.hidden[1].is_measured
    assert "hidden.0.mean" not in normalised_network("recalibrated")[0].state_dict()


def test_stock_elbos_of_pyro_know_the_law_of_a_draw():
    model, guide, x, y = normalised_network("analytic")
    wanted, _ = oracle_of(model, guide, x)
    for elbo in (
        Trace_ELBO(),
        Trace_ELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1),
    ):
        elbo.loss_and_grads(model, guide, x, y)
        np.testing.assert_allclose(model.hidden[1].variance, wanted[1][1], rtol=1e-9)
    enumerated = config_enumerate(guide.unrolled(), "parallel")
    with pytest.raises(ValueError, match=r"came without their law, as under TraceEnum_ELBO"):
        TraceEnum_ELBO(max_plate_nesting=1).loss(model, enumerated, x, y)


def test_given_weights_are_their_own_mean():
    model, _, x, _ = normalised_network("analytic", (3, 2, 2))
    w = torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]])
    given = poutine.condition(model, {"hidden.0.weight": w})
    pre = poutine.trace(given).get_trace(x).nodes["x1"]["fn"].affine
    p = x @ w.T
    wanted = model.hidden[0].scale / (p.var(0, correction=0) + EPS).sqrt()
    torch.testing.assert_close(pre.scale, wanted, rtol=1e-12, atol=0)


def test_fit_resumes_bit_for_bit_with_its_running_averages(tmp_path):
    def fitted(epochs, folder):
        torch.manual_seed(3)
        model, guide, x, y = normalised_network("analytic", (4, 6, 3), rows=24)
        sbn.fit(
            model,
            guide,
            (x, y),
            validation=(x, y),
            epochs=epochs,
            batch_size=8,
            schedule="constant",
            checkpoint=folder,
            progress=False,
        )
        return {**model.state_dict(), **guide.state_dict()}

    fitted(2, tmp_path / "a")
    resumed, whole = fitted(4, tmp_path / "a"), fitted(4, tmp_path / "b")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert whole["hidden.0.is_measured"]


def test_held_out_rows_are_scored_by_the_kept_statistics():
    model, guide, x, y = normalised_network("analytic", (4, 6, 3), rows=24)
    seen = []
    forward = model.forward

    def watched(x, y=None):
        if y is not None and not torch.is_grad_enabled():
            seen.append((len(x), model.training))
        return forward(x, y)

    model.forward = watched
    sbn.fit(model, guide, (x, y), validation=(x[:5], y[:5]), epochs=1, progress=False)
    assert (5, False) in seen
    assert (5, True) not in seen
    assert model.training


def calibrated(kind, *, other_guide=False, no_guide=False):
    model, guide, x, _ = normalised_network(kind)
    if no_guide:
        guide = model
    if other_guide:
        _, guide, _, _ = normalised_network(kind, (2, 2, 2))
    model.calibrate(guide, x)


def one_row():
    model, guide, x, y = normalised_network("recalibrated")
    sbn.TraceEstimator_ELBO("psa").loss(model, guide, x[:1], y[:1])


def listed():
    model, guide, x, y = normalised_network("recalibrated")
    sbn.TraceEstimator_ELBO("exact").loss(model, guide, x, y)


def from_real():
    model, *_ = normalised_network("frozen", (2, 2, 2))
    real = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 2))
    sbn.guides.AutoSignBernoulli.from_real(model, real)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: sbn.models.BinaryMLP(2, [2], 2, num_data=4, normalisation="batch"),
            ValueError,
            r"normalisation='batch'\) is not known; it is one of 'analytic', 'frozen', 'recali",
        ),
        (
            lambda: calibrated(None),
            ValueError,
            r'calibrate: .*keeps no statistics. Write BinaryMLP\(..., normalisation="analytic"\)',
        ),
        (
            lambda: calibrated("recalibrated"),
            ValueError,
            r"Each draw has its own: write posterior.draw\(200, seed=0, calibrate=x\)",
        ),
        (
            lambda: calibrated("analytic", other_guide=True),
            ValueError,
            r"calibrate: the guide has no weights at hidden.1.weight; it has hidden.0.weight, outp",
        ),
        (
            lambda: calibrated("frozen", no_guide=True),
            TypeError,
            r"calibrate: the guide is a BinaryMLP, which does not state its weight_probabilities",
        ),
        (
            one_row,
            ValueError,
            r"a batch of one row has no variance .* Give batches of two rows or more",
        ),
        (
            listed,
            ValueError,
            r'depend on the draws of all rows together.*Use "psa", or normalisation="analytic"',
        ),
        (
            from_real,
            ValueError,
            r"from_real: the model has normalisation='frozen', which would undo the scales",
        ),
    ],
)
def test_errors_say_what_to_type(call, error, words):
    with pytest.raises(error, match=words):
        call()
