"""BinaryRegressor: its law by hand, what it learns, what it refuses, and its plain numbers."""

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive

import bayes_sbn as sbn


def regressor(**options):
    return sbn.models.BinaryRegressor(4, [8, 6], **{"num_data": 20, **options})


def data(rows=20):
    x = torch.randn(rows, 4)
    return x, torch.sin(2 * x[:, 0]) + 0.1 * torch.randn(rows)


def test_log_prob_is_that_of_the_network_by_hand():
    model = regressor(sigma=0.7)
    x, y = data(5)
    trace = poutine.trace(model).get_trace(x, y)
    h = x
    for k, layer in enumerate([*model.hidden, model.output]):
        name = f"hidden.{k}" if k < 2 else "output"
        a = layer.scale * (h @ trace.nodes[f"{name}.weight"]["value"].T) + layer.bias
        h = trace.nodes[f"x{k + 1}"]["value"] if k < 2 else None
    site = trace.nodes["y"]
    assert site["value"].shape == (5, 1)
    assert site["scale"] == 20 / 5
    wanted = torch.distributions.Normal(a[:, 0], 0.7).log_prob(y)
    assert torch.allclose(site["fn"].log_prob(site["value"]), wanted, atol=1e-12)


def test_sigma_is_a_parameter_that_is_learned_and_saved():
    model = regressor()
    assert model.sigma.item() == 1
    names = dict(model.named_parameters())
    assert "sigma_unconstrained" in names
    guide = sbn.guides.AutoSignBernoulli(model)
    assert all("sigma" not in name for name in guide.state_dict())
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.05})})
    svi = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa", temperature="auto"))
    x, y = data()
    losses = [svi.step(x, y) for _ in range(200)]
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 5
    assert model.sigma.item() < 0.9
    other = regressor()
    other.load_state_dict(model.state_dict())
    assert other.sigma.item() == model.sigma.item()


def test_gradient_of_sigma_is_that_of_the_exact_bound():
    """All ±1 weights and activations are enumerated; finite differences."""
    torch.manual_seed(3)
    model = sbn.models.BinaryRegressor(2, [2], num_data=3)
    guide = sbn.guides.AutoSignBernoulli(model)
    x, y = torch.randn(3, 2), torch.randn(3)
    sbn.TraceEstimator_ELBO("exact").differentiable_loss(model, guide, x, y).backward()
    leaf = dict(model.named_parameters())["sigma_unconstrained"]
    assert leaf.grad.abs() > 0
    step = 1e-6
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            leaf += sign * step
        losses.append(sbn.TraceEstimator_ELBO("exact").loss(model, guide, x, y))
        with torch.no_grad():
            leaf -= sign * step
    assert leaf.grad.item() == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-6)


def test_temperature_counts_a_nat_a_target():
    model = regressor(num_data=5)
    elbo = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    guide = sbn.guides.AutoSignBernoulli(model)
    x, y = data(5)
    elbo.loss(model, guide, x, y)
    bits = 4 * 8 + 8 * 6 + 6
    assert elbo.temperature == pytest.approx(5 / (10 * bits * np.log(2)), rel=1e-12)


def test_architecture_states_the_normal_law():
    model = regressor(sigma=0.25)
    model(*data(5))
    architecture = model.architecture()
    assert architecture["likelihood"] == "normal"
    assert architecture["sigma"].item() == pytest.approx(0.25, rel=1e-12)
    guide = sbn.guides.AutoSignBernoulli(model)
    posterior = sbn.Posterior.from_guide(model, guide)
    assert posterior.likelihood == "normal"
    assert posterior.components[0].sigma == pytest.approx(0.25, rel=1e-12)


def test_with_real_layers_and_normalisation():
    model = regressor(real=("first",), normalisation="recalibrated")
    guide = sbn.guides.AutoHybrid(model)
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.05}), sbn.TraceEstimator_ELBO("psa"))
    x, y = data()
    assert np.isfinite(svi.step(x, y))
    ensemble = sbn.Posterior.from_guide(model, guide).draw(3, calibrate=x)
    assert ensemble.predict(x).shape == (3, 20)


def test_predictive_and_from_predictive_agree_with_the_model():
    model = regressor(sigma=0.5)
    guide = sbn.guides.AutoSignBernoulli(model)
    x, _ = data(3)
    samples = Predictive(model, guide=guide, num_samples=7)(x)
    assert samples["y"].shape == (7, 3, 1)
    pred = sbn.RegressionPredictions.from_predictive(samples, draws="y")
    assert np.array_equal(pred.mean_per_draw, samples["y"][..., 0])
    assert not pred.scale_per_draw.any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sigma": 0.0}, r"BinaryRegressor\(sigma=0.0\): .* Write sigma=1.0"),
        ({"sigma": float("nan")}, r"sigma=nan"),
        ({"num_data": None}, "num_data=...\\) is missing"),
    ],
)
def test_options_that_are_not_allowed(options, words):
    with pytest.raises(ValueError, match=words):
        regressor(**options)


def test_targets_that_are_not_allowed():
    model = regressor()
    x, y = data(5)
    with pytest.raises(ValueError, match=r"BinaryRegressor\(x, y\): y is \(5, 1\); it must be a "):
        model(x, y[:, None])
    with pytest.raises(TypeError, match=r"y is torch.int64 .* Write y.to\(torch.float64\)"):
        model(x, torch.zeros(5, dtype=torch.long))
    y[3] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite values, first in row 3"):
        model(x, y)
    with pytest.raises(ValueError, match=r"Write BinaryRegressor\(..., num_data=30\)"):
        model(*data(30))
    pyro.clear_param_store()
